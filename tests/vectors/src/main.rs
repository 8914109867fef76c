// SPDX-License-Identifier: GPL-2.0

//! Prints what the sums of pages cost on this machine, in cycles of its time stamp counter for each byte: the least of many
//! rounds over pages that are in the caches.

use std::hint::black_box;
use vectors::{copy, cycles, is_available, sums, Page, PAGE_WORDS};

const ROUNDS: usize = 20_000;

fn main() {
    if !is_available() {
        println!("this processor has no AVX2 or no PCLMULQDQ");
        return;
    }
    let page = |seed: u64| {
        let mut word = seed;
        Page(std::array::from_fn(|_| {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word
        }))
    };
    let key = page(1);
    let pages: Vec<Page> = (2..18).map(page).collect();
    let all: Vec<&Page> = pages.iter().collect();
    let mut out = [[0; 2]; 16];
    let mut to = Page([0; PAGE_WORDS]);
    report("copied", 1, || to.0.copy_from_slice(black_box(&pages[0].0)));
    report("copied and summed", 1, || {
        black_box(copy(black_box(&pages[0]), &mut to, &key));
    });
    report("summed alone", 1, || {
        sums(black_box(&all[..1]), &key, &mut out)
    });
    report("16 summed together", 16, || {
        sums(black_box(&all), &key, &mut out);
    });
    black_box((out, to));
}

fn report(what: &str, pages: usize, mut f: impl FnMut()) {
    let least = (0..ROUNDS)
        .map(|_| {
            let begun = cycles();
            f();
            cycles() - begun
        })
        .min()
        .unwrap_or(0);
    let bytes = pages * PAGE_WORDS * 8;
    println!(
        "{what}: {:.3} cycles a byte, {} a page",
        least as f64 / bytes as f64,
        least / pages as u64
    );
}

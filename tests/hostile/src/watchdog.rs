//! Says which case it was when nothing moves any more, and ends the guest.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Duration;

static BEATS: AtomicU64 = AtomicU64::new(0);
static CASE: Mutex<String> = Mutex::new(String::new());

/// The case that begins now. Also in the kernel log, so that an oops there has a name.
pub fn case(name: &str) {
    BEATS.fetch_add(1, Ordering::Relaxed);
    if let Ok(mut c) = CASE.lock() {
        name.clone_into(&mut c);
    }
    if let Ok(mut log) = std::fs::OpenOptions::new().write(true).open("/dev/kmsg") {
        // In one piece: each write is a line of the log.
        let _ = log.write_all(format!("<6>hostile: {name}").as_bytes());
    }
}

/// Watches from a thread of its own; a case that takes longer than `limit` hangs.
pub fn start(limit: Duration) {
    std::thread::spawn(move || {
        let mut seen = 0;
        loop {
            std::thread::sleep(limit);
            let now = BEATS.load(Ordering::Relaxed);
            if now == seen {
                let name = CASE.lock().map(|c| c.clone()).unwrap_or_default();
                println!("HANG: {name}");
                let _ = std::fs::write("/dev/kmsg", format!("<0>hostile: HANG: {name}"));
                for key in ["w", "l", "c"] {
                    let _ = std::fs::write("/proc/sysrq-trigger", key);
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            seen = now;
        }
    });
}

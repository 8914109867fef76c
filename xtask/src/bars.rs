// SPDX-License-Identifier: GPL-2.0

//! A benchmark's figures as bars: each side relative to dm-thin.

use crate::picture::{bad, put, Picture};
use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

/// A case's figure on each side, in the order of the sides.
pub struct Figure {
    pub label: String,
    pub unit: &'static str,
    pub values: Vec<Option<f64>>,
}

pub struct Bars<'a> {
    pub title: &'a str,
    /// What the figures were measured on
    pub about: &'a str,
    pub sides: Vec<&'a str>,
    pub figures: Vec<Figure>,
}

/// The first side is what the others are measured by.
const COLORS: [RGBColor; 4] = [
    RGBColor(150, 150, 150),
    RGBColor(31, 119, 180),
    RGBColor(214, 160, 90),
    RGBColor(120, 170, 120),
];
const WIDTH: i32 = 1040;
const HEAD: i32 = 96;
const LEFT: i32 = 370;
/// A bar as long as dm-thin's, and the longest: what is longer is cut, and says its ratio all the same.
const ONE: i32 = 200;
const LONGEST: i32 = 450;
const BAR: i32 = 17;
const GAP: i32 = 12;

impl Figure {
    fn first(&self) -> Option<f64> {
        self.values.first().copied().flatten().filter(|v| *v > 0.0)
    }

    fn bars(&self) -> usize {
        self.values.iter().flatten().count()
    }
}

/// Three digits, and no more than two behind the point.
fn short(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

impl Bars<'_> {
    /// What the bars of a figure are relative to: the first side's value, or, where that has none, the largest of all such figures
    /// with the same unit.
    fn base(&self, figure: &Figure) -> Option<f64> {
        figure.first().or_else(|| {
            let alike = |f: &&Figure| f.first().is_none() && f.unit == figure.unit;
            let known = self.figures.iter().filter(alike).flat_map(|f| &f.values);
            known
                .flatten()
                .copied()
                .reduce(f64::max)
                .filter(|v| *v > 0.0)
        })
    }
}

impl Picture for Bars<'_> {
    fn size(&self) -> (u32, u32) {
        let rows: usize = self.figures.iter().map(Figure::bars).sum();
        let height = HEAD + rows as i32 * BAR + self.figures.len() as i32 * GAP + 16;
        (WIDTH as u32, height.unsigned_abs())
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        area.fill(&WHITE).map_err(bad)?;
        put(area, self.title, 20, (16, 12))?;
        put(area, self.about, 12, (16, 40))?;
        for (n, (side, color)) in self.sides.iter().zip(COLORS).enumerate() {
            let left = LEFT + n as i32 * 150;
            let place = [(left, 68), (left + 12, 80)];
            area.draw(&Rectangle::new(place, color.filled()))
                .map_err(bad)?;
            put(area, side, 14, (left + 18, 67))?;
        }
        let mut top = HEAD;
        for figure in &self.figures {
            put(area, &figure.label, 13, (16, top + 1))?;
            let base = self.base(figure);
            for (value, color) in figure.values.iter().zip(COLORS) {
                let Some(value) = value else { continue };
                let ratio = base.map_or(0.0, |b| value / b);
                let length = ((ratio * f64::from(ONE)) as i32).clamp(1, LONGEST);
                let place = [(LEFT, top), (LEFT + length, top + BAR - 3)];
                area.draw(&Rectangle::new(place, color.filled()))
                    .map_err(bad)?;
                let mut words = format!("{} {}", short(*value), figure.unit);
                if figure.first().is_some() {
                    words += &format!(" ({ratio:.2}x)");
                }
                put(area, &words, 12, (LEFT + length + 6, top))?;
                top += BAR;
            }
            top += GAP;
        }
        let one = vec![(LEFT + ONE, HEAD - 6), (LEFT + ONE, top - GAP)];
        area.draw(&PathElement::new(one, BLACK.mix(0.4)))
            .map_err(bad)?;
        area.present().map_err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::svg;

    #[test]
    fn bars_are_relative_to_the_first_side() {
        let figure = |label: &str, values: &[Option<f64>]| Figure {
            label: label.into(),
            unit: "ms",
            values: values.to_vec(),
        };
        let bars = Bars {
            title: "storm",
            about: "somewhere",
            sides: vec!["dm-thin", "dm-drr", "overlayfs"],
            figures: vec![
                figure("16: time", &[Some(200.0), Some(50.0), Some(5000.0)]),
                figure("16: table", &[None, Some(4.0), None]),
                figure("8: table", &[None, Some(1.0), None]),
            ],
        };
        let svg = svg(&bars);
        for words in [
            "200 ms (1.00x)",
            "50.0 ms (0.25x)",
            "5000 ms (25.00x)",
            "4.00 ms",
            "1.00 ms",
            "16: table",
            "overlayfs",
        ] {
            assert!(svg.contains(words), "{words} is not in {svg}");
        }
        // The background, three in the legend, five bars.
        assert_eq!(svg.matches("<rect").count(), 1 + 3 + 5);
        assert!(!svg.contains("4.00 ms ("), "measured by nothing");
        let wide = |px: i32| format!("width=\"{px}\" height=\"14\"");
        assert_eq!(
            svg.matches(&wide(ONE)).count(),
            2,
            "dm-thin's, and the largest: {svg}"
        );
        assert_eq!(
            svg.matches(&wide(ONE / 4)).count(),
            2,
            "a quarter of them: {svg}"
        );
    }
}

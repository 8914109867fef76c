// SPDX-License-Identifier: GPL-2.0

//! Pictures in files, by their names: SVG or PNG.

use crate::host;
use anyhow::{bail, Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{register_font, FontStyle};
use std::fs;
use std::path::{Path, PathBuf};

const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";

/// Something that can be drawn, whatever with.
pub trait Picture {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<()>
    where
        B::ErrorType: 'static;
}

/// Writes words with their upper left corner at a place.
pub fn put<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    words: &str,
    size: i32,
    at: (i32, i32),
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let style = ("sans-serif", size).into_font().color(&BLACK);
    area.draw(&Text::new(words.to_string(), at, style))
        .map_err(bad)
}

/// The drawing library's error as one of ours.
pub fn bad<E: std::error::Error + Send + Sync>(e: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow::anyhow!("{e}")
}

/// Refuses names that tell no kind of picture, before anything is made for them.
pub fn check_names(files: &[PathBuf]) -> Result<()> {
    for file in files {
        if !matches!(kind(file).as_deref(), Some("svg" | "png")) {
            bail!("{}: want a name that ends in .svg or .png", file.display());
        }
    }
    Ok(())
}

fn kind(file: &Path) -> Option<String> {
    let end = file.extension()?.to_str()?;
    Some(end.to_lowercase())
}

/// Draws into files and tells their names.
pub fn write(picture: &impl Picture, files: &[PathBuf]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    ensure_font()?;
    let size = picture.size();
    for file in files {
        let drawn = if kind(file).as_deref() == Some("svg") {
            picture.draw(&SVGBackend::new(file, size).into_drawing_area())
        } else {
            picture.draw(&BitMapBackend::new(file, size).into_drawing_area())
        };
        drawn.with_context(|| format!("cannot draw {}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}

fn ensure_font() -> Result<()> {
    host::ensure()?;
    let bytes = fs::read(FONT).with_context(|| format!("cannot read {FONT}"))?;
    // The drawing library keeps fonts for ever.
    register_font(
        "sans-serif",
        FontStyle::Normal,
        Box::leak(bytes.into_boxed_slice()),
    )
    .map_err(|_| anyhow::anyhow!("{FONT} is not a font that can be used"))
}

/// What a picture is as SVG.
#[cfg(test)]
pub fn svg(picture: &impl Picture) -> String {
    let mut svg = String::new();
    picture
        .draw(&SVGBackend::with_string(&mut svg, picture.size()).into_drawing_area())
        .unwrap();
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_tell_no_kind_are_refused() {
        assert!(check_names(&[PathBuf::from("a.svg"), PathBuf::from("b.PNG")]).is_ok());
        for name in ["a.jpg", "svg", "a"] {
            let e = check_names(&[PathBuf::from(name)]).unwrap_err().to_string();
            assert!(e.starts_with(name), "{e}");
        }
    }
}

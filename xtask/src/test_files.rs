// SPDX-License-Identifier: GPL-2.0

//! The files of the guest tests: in the checkout in folders by subject, in the guest side by side.

use anyhow::{bail, Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// All scripts below a folder, tests and libraries, by name. No two have the same name, because the guest has them in one
/// folder.
pub fn scripts(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    if !dir.exists() {
        return Ok(found);
    }
    for entry in WalkDir::new(dir).sort_by_file_name() {
        let path = entry
            .with_context(|| format!("cannot list {}", dir.display()))?
            .into_path();
        let Some(name) = script_name(&path) else {
            continue;
        };
        if let Some(other) = found.get(&name) {
            bail!("{} and {} have one name", other.display(), path.display());
        }
        found.insert(name, path);
    }
    Ok(found)
}

/// The name of a test or of a library for tests; `None`: the file is neither.
fn script_name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let is_script = path.extension().is_some_and(|e| e == "sh") && !stem.starts_with('.');
    is_script.then_some(stem)
}

/// Copies tests and what they use into the guest's folder: scripts side by side, so that a test sources another by its
/// name, and everything else at its place.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from).follow_links(true) {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.path();
        let place = match script_name(path) {
            Some(name) => to.join(format!("{name}.sh")),
            None => to.join(path.strip_prefix(from).unwrap_or(path)),
        };
        let folder = place.parent().unwrap_or(to);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::copy(path, &place).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(e) => panic!("{e}"),
        };
        for (path, text) in files {
            let path = dir.path().join(path);
            let folder = path.parent().unwrap_or(dir.path());
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
            assert!(written.is_ok(), "{written:?}");
        }
        dir
    }

    #[test]
    fn scripts_are_found_in_all_folders() {
        let dir = folder(&[
            ("lib.sh", ""),
            ("reads/low.sh", ""),
            ("reads/read.py", ""),
            ("reads/more/.hidden.sh", ""),
            ("reads/more/last.sh", ""),
        ]);
        let names = |dir: &Path| scripts(dir).map(|found| found.into_keys().collect::<Vec<_>>());
        let found = names(dir.path()).unwrap_or_default();
        assert_eq!(found, ["last", "lib", "low"]);
        assert!(names(&dir.path().join("gone")).is_ok_and(|found| found.is_empty()));
    }

    #[test]
    fn two_scripts_of_one_name_are_an_error() {
        let dir = folder(&[("reads/a.sh", ""), ("writes/a.sh", "")]);
        let said = match scripts(dir.path()) {
            Ok(_) => String::new(),
            Err(e) => format!("{e:#}"),
        };
        assert!(
            said.contains("reads/a.sh") && said.contains("writes/a.sh"),
            "{said}"
        );
    }

    #[test]
    fn scripts_stand_side_by_side_in_the_guest() {
        let from = folder(&[
            ("lib.sh", "library"),
            ("read.py", "program"),
            ("reads/a.sh", "test"),
            ("images/README.md", "text"),
        ]);
        let to = folder(&[]);
        let place = to.path().join("tests");
        let done = copy(from.path(), &place);
        assert!(done.is_ok(), "{done:?}");
        for (path, text) in [
            ("lib.sh", "library"),
            ("read.py", "program"),
            ("a.sh", "test"),
            ("images/README.md", "text"),
        ] {
            let read = fs::read_to_string(place.join(path)).ok();
            assert_eq!(read.as_deref(), Some(text), "{path}");
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The machine's own apt configuration: which Debian mirror it uses, and with which options.

use crate::proc;
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::PathBuf;

/// The URI of the Debian main archive: `$DRR_MIRROR`, else the first one in apt's own sources.
pub fn mirror() -> Result<String> {
    if let Ok(m) = std::env::var("DRR_MIRROR") {
        if !m.is_empty() {
            return Ok(m);
        }
    }
    let mut files: Vec<PathBuf> = vec!["/etc/apt/sources.list".into()];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<PathBuf> = dir.flatten().map(|e| e.path()).collect();
        more.sort();
        files.extend(more);
    }
    let texts = files.iter().filter_map(|f| {
        let text = fs::read_to_string(f).ok()?;
        let deb822 = f.extension().is_some_and(|e| e == "sources");
        let list = f.extension().is_some_and(|e| e == "list");
        (deb822 || list).then_some((deb822, text))
    });
    for (deb822, text) in texts {
        let found = if deb822 {
            from_deb822(&text)
        } else {
            from_list(&text)
        };
        if let Some(uri) = found {
            return Ok(uri);
        }
    }
    bail!("no Debian archive in this machine's apt sources: set DRR_MIRROR to one")
}

/// Whether this is the archive of Debian's own releases, rather than security updates or somebody's packages.
fn is_debian(uri: &str, suites: &[&str], components: &[&str]) -> bool {
    const SUITES: [&str; 9] = [
        "bookworm",
        "trixie",
        "forky",
        "duke",
        "sid",
        "stable",
        "testing",
        "unstable",
        "oldstable",
    ];
    let path = uri.trim_end_matches('/');
    (uri.starts_with("http") || uri.starts_with("file:") || uri.starts_with("copy:"))
        && !path.ends_with("security")
        && components.contains(&"main")
        && suites.iter().any(|s| SUITES.contains(s))
}

/// The archive in a file of one-line entries (`deb [options] uri suite component…`).
fn from_list(text: &str) -> Option<String> {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line
            .strip_prefix("deb")
            .filter(|r| r.starts_with([' ', '\t']))
        else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(r) => r.split_once(']').map(|(_, r)| r).unwrap_or_default(),
            None => rest,
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        if let [uri, suite, components @ ..] = words.as_slice() {
            if is_debian(uri, &[suite], components) {
                return Some((*uri).to_string());
            }
        }
    }
    None
}

/// The archive in a file of deb822 stanzas.
fn from_deb822(text: &str) -> Option<String> {
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain(std::iter::once("")) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if let Some(uri) = from_stanza(&stanza) {
                return Some(uri);
            }
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_ascii_lowercase(), value.trim().to_string()));
        }
    }
    None
}

fn from_stanza(stanza: &[(String, String)]) -> Option<String> {
    let words = |name: &str| -> Vec<&str> {
        stanza
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.split_whitespace().collect())
            .unwrap_or_default()
    };
    if !words("types").contains(&"deb") || words("enabled").contains(&"no") {
        return None;
    }
    words("uris")
        .into_iter()
        .find(|uri| is_debian(uri, &words("suites"), &words("components")))
        .map(str::to_string)
}

/// The machine's apt options that decide whether and how an archive is reached, as `Name "value";`.
pub fn options() -> Result<Vec<String>> {
    let dump = proc::output(proc::command("apt-config").arg("dump"))
        .context("cannot read the apt configuration")?;
    Ok(filter_options(&dump))
}

fn filter_options(dump: &str) -> Vec<String> {
    const KEEP: [&str; 6] = [
        "Acquire::Check-",
        "Acquire::Max-FutureTime",
        "Acquire::Retries",
        "Acquire::Force",
        "Acquire::http",
        "Acquire::Languages",
    ];
    dump.lines()
        .filter(|l| KEEP.iter().any(|k| l.starts_with(k)))
        .filter(|l| !l.contains("Proxy-Auto-Detect") && !l.ends_with("\"\";"))
        .map(str::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_entry_with_options_is_found() {
        let text = "# deb http://old.example/debian trixie main\n\
                    deb-src http://src.example/debian trixie main\n\
                    deb http://sec.example/debian-security trixie-security main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian trixie main contrib\n";
        assert_eq!(from_list(text).as_deref(), Some("http://m.example/debian"));
    }

    #[test]
    fn foreign_one_line_entries_are_not_taken() {
        assert_eq!(
            from_list("deb https://p.example/apt tool-bookworm main\n"),
            None
        );
        assert_eq!(
            from_list("deb https://p.example/node nodistro main\n"),
            None
        );
        assert_eq!(
            from_list("debug http://m.example/debian trixie main\n"),
            None
        );
    }

    #[test]
    fn deb822_stanza_with_comment_and_continuation_is_found() {
        let text = "Types: deb\n# a comment\nURIs: http://m.example/debian\nSuites: bookworm\n \
                    bookworm-updates\nComponents: main\n\nTypes: deb\n\
                    URIs: http://m.example/debian-security\nSuites: bookworm-security\n\
                    Components: main\n";
        assert_eq!(
            from_deb822(text).as_deref(),
            Some("http://m.example/debian")
        );
    }

    #[test]
    fn disabled_and_source_stanzas_are_not_taken() {
        let text = "Enabled: no\nTypes: deb\nURIs: http://a.example/debian\nSuites: trixie\n\
                    Components: main\n\nTypes: deb-src\nURIs: http://b.example/debian\n\
                    Suites: trixie\nComponents: main\n";
        assert_eq!(from_deb822(text), None);
    }

    #[test]
    fn security_first_does_not_hide_the_archive() {
        let text = "Types: deb\nURIs: http://m.example/debian-security\nSuites: stable\n\
                    Components: main\n\nTypes: deb deb-src\nURIs: http://m.example/debian/\n\
                    Suites: stable\nComponents: main\n";
        assert_eq!(
            from_deb822(text).as_deref(),
            Some("http://m.example/debian/")
        );
    }

    #[test]
    fn options_that_reach_the_archive_are_passed_on() {
        let dump = "APT::Architecture \"amd64\";\nAcquire::Check-Date \"false\";\n\
                    Acquire::http::Proxy \"http://p.example:3128\";\nAcquire::http \"\";\n";
        assert_eq!(
            filter_options(dump),
            [
                "Acquire::Check-Date \"false\";",
                "Acquire::http::Proxy \"http://p.example:3128\";"
            ]
        );
    }
}

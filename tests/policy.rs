//! What is let into the build, and what is unsafe in it. The short form of deny.toml, which needs
//! `cargo deny`; for the default build on this system.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Licences that ask for no more than that their text is passed on.
const LICENCES: [&str; 5] = ["Apache-2.0", "ISC", "MIT", "Unicode-3.0", "Zlib"];
/// Crates of the default build, beside this one, are fewer.
const CRATES: usize = 130;
/// Crates that compile C or look for C libraries.
const OF_C: [&str; 6] = ["bindgen", "cc", "cmake", "pkg-config", "vcpkg", "nasm-rs"];
/// Crates with `links` in their manifest, which names a C library; these do not link any.
const LINKS: [(&str, &str); 1] = [("rayon-core", "so that there is one of its thread pools")];

/// Where a crate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    /// In the default build on this system.
    Build,
    /// With a feature, or on another system that deny.toml names.
    Features,
    /// On systems that nobody asked for.
    Lock,
}

/// Crates that Cargo.lock has two versions of: the older one, where it is, and who needs it. Each goes
/// when those move on.
const OLDER: [(&str, In, &str); 11] = [
    (
        "bit-set@0.8",
        In::Features,
        "fancy-regex, by the feature tokenizers",
    ),
    ("bit-vec@0.8", In::Features, "bit-set, likewise"),
    ("getrandom@0.3", In::Features, "rand 0.9, likewise"),
    (
        "hashbrown@0.16",
        In::Build,
        "safetensors, and gpu-allocator of wgpu",
    ),
    (
        "r-efi@5",
        In::Lock,
        "getrandom, by the feature tokenizers on UEFI",
    ),
    (
        "rand@0.9",
        In::Features,
        "tokenizers, by the feature of that name",
    ),
    ("rand_chacha@0.9", In::Features, "rand, likewise"),
    ("rand_core@0.9", In::Features, "rand, likewise"),
    (
        "syn@2",
        In::Build,
        "zerocopy-derive of half; only runs while it is built",
    ),
    ("thiserror@1", In::Features, "sysctl of gemm, on macOS"),
    ("thiserror-impl@1", In::Features, "thiserror, likewise"),
];

/// Files with unsafe code: how often the word is in it, and why.
const UNSAFE: [(&str, usize, &str); 4] = [
    (
        "src/data/ids.rs",
        1,
        "token ids are read from a file that is mapped into memory",
    ),
    (
        "src/device/memory.rs",
        1,
        "Vulkan is asked how much memory there is",
    ),
    (
        "src/main.rs",
        1,
        "the environment is set before there is another thread",
    ),
    (
        "src/ops/cpu/matmul.rs",
        8,
        "tasks write disjoint parts of one matrix; gemm takes pointers",
    ),
];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The default build's crates, with their licences: those that are linked in, or with `no-dev` also
/// those that only run while it is built. But for this one.
fn crates(edges: &str) -> BTreeMap<String, String> {
    let arguments = [
        "tree",
        "-e",
        edges,
        "--prefix",
        "none",
        "--no-dedupe",
        "-f",
        "{p}|{l}",
    ];
    let tree = cargo(&arguments);
    let lines = tree.lines().filter_map(|line| line.split_once('|'));
    let mut crates: BTreeMap<_, _> = lines
        .map(|(name, licence)| (name.replace(" (proc-macro)", ""), licence.to_owned()))
        .collect();
    crates.retain(|name, _| !name.starts_with("bptt v"));
    crates
}

/// Is it enough to accept some of `allowed`, by an SPDX expression (or, as once was usual, "A/B")?
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    fn any<'a>(
        words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
        allowed: &[&str],
    ) -> bool {
        let mut any_of = all(words, allowed);
        while words.next_if_eq(&"OR").is_some() {
            any_of |= all(words, allowed);
        }
        any_of
    }
    fn all<'a>(
        words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
        allowed: &[&str],
    ) -> bool {
        let mut all_of = one(words, allowed);
        while words.next_if_eq(&"AND").is_some() {
            all_of &= one(words, allowed);
        }
        all_of
    }
    fn one<'a>(
        words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
        allowed: &[&str],
    ) -> bool {
        match words.next() {
            Some("(") => {
                let within = any(words, allowed);
                words.next() == Some(")") && within
            }
            Some(licence) => {
                // An exception only adds to what is allowed, but is not in the list.
                let excepted = words.next_if_eq(&"WITH").and_then(|_| words.next());
                excepted.is_none() && allowed.contains(&licence)
            }
            None => false,
        }
    }
    any(&mut words, allowed) && words.next().is_none()
}

#[test]
fn licences_are_of_those_that_are_allowed() {
    for (expression, allowed) in [
        ("MIT OR GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0", false),
        ("", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("(MIT OR ISC) AND GPL-3.0", false),
        ("GPL-2.0 WITH Classpath-exception-2.0 OR Apache-2.0", true),
        ("LGPL-3.0/MIT", true),
    ] {
        assert_eq!(is_allowed(expression, &LICENCES), allowed, "{expression}");
    }
    let crates = crates("no-dev");
    assert!(crates.len() > 50, "cargo tree shows what there is");
    for (name, licence) in &crates {
        assert!(is_allowed(licence, &LICENCES), "{name}: {licence}");
    }
    // The two lists are one.
    let deny =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).unwrap();
    assert!(
        deny.contains(&format!("allow = {LICENCES:?}")),
        "deny.toml allows others"
    );
}

/// The packages of Cargo.lock.
fn locked() -> Vec<toml::Value> {
    let lock =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let lock: toml::Table = toml::from_str(&lock).unwrap();
    lock["package"].as_array().unwrap().clone()
}

/// The crates of which there are several, "name v1.2.3" each, but for the newest of each.
fn older(crates: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let number = |part: &str| part.parse::<u64>().unwrap_or_default();
    let mut versions: BTreeMap<String, Vec<(Vec<u64>, String)>> = BTreeMap::new();
    for of in crates {
        let (name, version) = of.split_once(" v").expect("a version");
        let key = version.split(['.', '-', '+']).map(number).collect();
        let all = versions.entry(name.to_owned()).or_default();
        all.push((key, of));
    }
    let but_newest = |mut all: Vec<(Vec<u64>, String)>| {
        all.sort();
        all.pop();
        all.into_iter().map(|(_, of)| of)
    };
    versions.into_values().flat_map(but_newest).collect()
}

/// Those that are not listed, and the listed ones that are not among them.
fn unlisted(older: &BTreeSet<String>, listed: &[&str]) -> Vec<String> {
    let is = |of: &str, listed: &str| of.starts_with(&format!("{}.", listed.replace('@', " v")));
    let new = older.iter().filter(|of| !listed.iter().any(|l| is(of, l)));
    let gone = listed.iter().filter(|l| !older.iter().any(|of| is(of, l)));
    new.cloned().chain(gone.map(|l| (*l).to_owned())).collect()
}

#[test]
fn crates_are_there_once_or_it_is_said_why_not() {
    let several = ["a v1.9.0", "a v1.10.0", "b v1.0.0", "a v2.0.0"].map(str::to_owned);
    let found = older(several);
    assert_eq!(found.iter().collect::<Vec<_>>(), ["a v1.10.0", "a v1.9.0"]);
    assert_eq!(unlisted(&found, &["a@1"]), [""; 0]);
    assert_eq!(unlisted(&found, &["a@1.9"]), ["a v1.10.0"]);
    assert_eq!(unlisted(&found, &["a@1", "b@1"]), ["b@1"]);

    let in_lock = locked().into_iter().map(|package| {
        let [name, version] = ["name", "version"].map(|key| package[key].as_str().unwrap());
        format!("{name} v{version}")
    });
    let listed = OLDER.map(|(older, ..)| older);
    assert_eq!(unlisted(&older(in_lock), &listed), [""; 0]);
    let built = OLDER
        .into_iter()
        .filter(|(_, place, _)| *place == In::Build);
    let built: Vec<_> = built.map(|(older, ..)| older).collect();
    let in_build = crates("no-dev").into_keys();
    assert_eq!(unlisted(&older(in_build), &built), [""; 0]);
    // The two lists are one.
    let deny =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).unwrap();
    let skipped: Vec<_> = OLDER
        .iter()
        .filter(|(_, place, _)| *place != In::Lock)
        .map(|(older, _, why)| format!("    {{ crate = {older:?}, reason = {why:?} }},\n"))
        .collect();
    assert!(
        deny.contains(&format!("skip = [\n{}]", skipped.concat())),
        "deny.toml has other reasons than:\n{}",
        skipped.concat()
    );
}

#[test]
fn crates_are_few_and_from_the_registry() {
    let crates = crates("normal");
    eprintln!("{} crates in the default build", crates.len());
    assert!(crates.len() < CRATES, "{} crates", crates.len());
    // Anything else has its source behind its version.
    for name in crates.keys() {
        assert_eq!(name.split(' ').count(), 2, "{name} is not from crates.io");
    }
    for package in locked() {
        let source = package.get("source").and_then(|source| source.as_str());
        let is_ours = package["name"].as_str() == Some("bptt");
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(is_ours || source == Some(registry), "{package}");
        assert!(is_ours || package.get("checksum").is_some(), "{package}");
    }
}

#[test]
fn nothing_of_c_is_in_the_default_build() {
    let crates: BTreeSet<String> = crates("no-dev").into_keys().collect();
    let name = |of: &str| of.split(' ').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = crates.iter().map(|of| name(of)).collect();
    for of_c in OF_C {
        assert!(!names.contains(of_c), "{of_c} is in the default build");
    }
    let metadata = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        host().as_str(),
    ]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let built = packages.iter().filter(|package| {
        let [name, version] = ["name", "version"].map(|key| package[key].as_str().unwrap());
        crates.contains(&format!("{name} v{version}"))
    });
    let mut count = 0;
    for package in built {
        count += 1;
        let name = package["name"].as_str().unwrap();
        let excused = LINKS.iter().any(|(excused, _)| *excused == name);
        assert!(
            package["links"].is_null() || excused,
            "{name} links {}",
            package["links"]
        );
    }
    assert_eq!(count, crates.len(), "metadata tells of every crate");
}

fn host() -> String {
    let output = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("cargo says its host").to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines on which the word is in the code, and whether each says why it is sound: in a comment
/// that ends above it, or for a function in its documentation.
fn unsafe_lines(text: &str) -> Vec<(usize, bool)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_word = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe")
    };
    let is_said = |at: usize| {
        let above = lines[..at].iter().rev();
        let mut above = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
        above.any(|line| line.starts_with("// SAFETY: ") || *line == "/// # Safety")
    };
    let found = (0..lines.len()).filter(|&at| is_word(lines[at]));
    found.map(|at| (at + 1, is_said(at))).collect()
}

#[test]
fn unsafe_code_is_where_it_is_listed_and_says_why_it_is_sound() {
    let bad = "// SAFETY: fine.\nunsafe {}\n\nunsafe {} // unsafe\nlet unsafe_code = 1;";
    assert_eq!(unsafe_lines(bad), [(2, true), (4, false)]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let mut found = Vec::new();
    for path in files {
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        let lines = unsafe_lines(&std::fs::read_to_string(&path).unwrap());
        for (line, said) in &lines {
            assert!(said, "{name}:{line} does not say why it is sound");
        }
        if !lines.is_empty() {
            found.push((name, lines.len()));
        }
    }
    found.sort();
    let listed = UNSAFE.map(|(name, count, _)| (name.to_owned(), count));
    assert_eq!(found, listed);
}

//! An op has one name in every listing.

use std::collections::BTreeSet;
use std::path::Path;

use bptt::ops::gpu::KERNELS;

type Names = BTreeSet<String>;

/// Files of `src/parity` that are about no op.
const PARITY_FRAME: &[&str] = &["bounds", "harness", "mod", "report", "subject", "training"];

/// The methods of the trait: what every other listing is held to.
fn methods() -> Names {
    let source = include_str!("../src/ops/mod.rs");
    let (_, body) = source.split_once("pub trait Ops").expect("the trait");
    let (body, _) = body.split_once("\n}").expect("the trait's end");
    let signatures = body.lines().filter_map(|l| l.strip_prefix("    fn "));
    let names = signatures.filter_map(|signature| signature.split_once('('));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// The ops that are benchmarked.
fn benches() -> Names {
    let source = include_str!("../benches/ops.rs");
    let (_, list) = source.rsplit_once("on_both_devices! {").expect("the list");
    let (list, _) = list.split_once('}').expect("the list's end");
    names(list.split_whitespace())
}

/// The names of the files in a folder, without the extension; `frame` is left out.
fn files(folder: &str, extension: &str, frame: &[&str]) -> Names {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&path).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("the folder can be listed").path());
    let files = paths.filter(|path| path.extension().is_some_and(|e| e == extension));
    let names = files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    names
        .filter(|name| !frame.contains(&name.as_str()))
        .collect()
}

/// The ops that shaders are of: `<op>` or `<op>_<how>`. A name that fits no op stays as it is.
fn ops_of(shaders: &Names, ops: &Names) -> Names {
    shaders.iter().map(|shader| op_of(shader, ops)).collect()
}

/// `embedding_backward` is an op of that name, not a variant of `embedding`: the longest fits.
fn op_of(shader: &str, ops: &Names) -> String {
    let is_variant = |op: &&String| {
        let how = shader.strip_prefix(op.as_str());
        how.is_some_and(|how| how.is_empty() || how.starts_with('_'))
    };
    let op = ops.iter().filter(is_variant).max_by_key(|op| op.len());
    op.cloned().unwrap_or_else(|| shader.to_owned())
}

/// What is missing from a listing, and what it has too much.
fn differences(listing: &str, found: &Names, expected: &Names) -> Vec<String> {
    let missing = expected.difference(found);
    let surplus = found.difference(expected);
    missing
        .map(|name| format!("{listing}: {name} is missing"))
        .chain(surplus.map(|name| format!("{listing}: {name} is in no other listing")))
        .collect()
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn every_listing_has_the_same_ops() {
    let ops = methods();
    let shaders = ops_of(&files("shaders", "wgsl", &[]), &ops);
    let listings = [
        ("shaders", shaders),
        ("src/ops/cpu", files("src/ops/cpu", "rs", &["mod"])),
        (
            "src/ops/gpu",
            files("src/ops/gpu", "rs", &["mod", "subgroup"]),
        ),
        ("src/parity", files("src/parity", "rs", PARITY_FRAME)),
        (
            "tests/parity",
            files("tests/parity", "rs", &["main", "training"]),
        ),
        ("benches/ops.rs", benches()),
        ("parity::ops()", names(bptt::parity::ops())),
        ("KERNELS", names(KERNELS.iter().map(|(op, _)| *op))),
    ];
    let errors = listings
        .iter()
        .flat_map(|(l, found)| differences(l, found, &ops));
    assert_eq!(errors.collect::<Vec<_>>(), [""; 0]);
}

/// The texts that several kernels have.
fn shared_sources() -> Vec<String> {
    let names = files("shaders/shared", "wgsl", &[]).into_iter();
    let path = |name| format!("{}/shaders/shared/{name}.wgsl", env!("CARGO_MANIFEST_DIR"));
    let sources = names.map(|name| std::fs::read_to_string(path(name)).expect("it can be read"));
    sources.collect()
}

/// Is a source a kernel's own file, and behind it nothing but shared ones?
fn is_made_of(source: &str, file: &str, shared: &[String]) -> bool {
    let Some(mut rest) = source.strip_prefix(file) else {
        return false;
    };
    while !rest.is_empty() {
        let behind = |text: &String| rest.strip_prefix('\n')?.strip_prefix(text.as_str());
        match shared.iter().find_map(behind) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    !file.is_empty()
}

#[test]
fn every_shader_is_a_kernel_of_its_op() {
    let ops = methods();
    let shaders = files("shaders", "wgsl", &[]);
    let kernels = || {
        KERNELS
            .iter()
            .flat_map(|(op, kernels)| kernels.iter().map(move |k| (op, k)))
    };
    let listed = names(kernels().map(|(_, kernel)| kernel.file));
    let mut errors = differences("KERNELS", &listed, &shaders);
    let shared = shared_sources();
    for (op, kernel) in kernels() {
        let path = format!(
            "{}/shaders/{}.wgsl",
            env!("CARGO_MANIFEST_DIR"),
            kernel.file
        );
        let file = std::fs::read_to_string(path).unwrap_or_default();
        if !is_made_of(kernel.source, &file, &shared) {
            errors.push(format!("{}: the source is another file's", kernel.name));
        }
        if op_of(kernel.name, &ops) != *op {
            errors.push(format!("{}: listed as a kernel of {op}", kernel.name));
        }
    }
    for text in shared {
        if !kernels().any(|(_, kernel)| {
            kernel.source.ends_with(&text) || kernel.source.contains(&(text.clone() + "\n"))
        }) {
            errors.push(format!("no kernel shares {text}"));
        }
    }
    assert_eq!(errors, [""; 0]);
}

#[test]
fn a_missing_and_a_surplus_name_are_reported() {
    assert!(is_made_of("a\nb", "a", &["c".to_owned(), "b".to_owned()]));
    assert!(!is_made_of("a\nb", "a", &["c".to_owned()]));
    assert!(!is_made_of("a", "", &["a".to_owned()]));
    let ops = names(["embedding", "embedding_backward", "tanh"]);
    assert!(ops.is_subset(&methods()));
    let shaders = names(["embedding_backward_atomic", "tan", "tanh_poly", "tanh"]);
    assert_eq!(
        differences("shaders", &ops_of(&shaders, &ops), &ops),
        [
            "shaders: embedding is missing",
            "shaders: tan is in no other listing",
        ]
    );
}

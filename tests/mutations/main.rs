//! Wrong kernels are caught: small edits are made all over the shaders, and parity must fail for each
//! that changes results, by the cases of the kernel's own op.
//!
//! Edits that these pass are in `survivors.txt`, each below the reason why it cannot be told from
//! the kernel. One that is missing there fails the test, and so does one that is there and is caught.

#[path = "../common/mod.rs"]
mod common;
mod edits;
#[path = "../common/variant.rs"]
mod variant;

use std::collections::BTreeMap;

use bptt::device::Gpu;
use bptt::device::adapter::adapters;
use bptt::device::kernel::Kernel;
use bptt::ops::gpu::KERNELS;
use bptt::parity::check_until_failure;
use common::gpu;
use common::say::say;
use edits::{Edit, edits};
use variant::variant_of;

/// Edits, as `kernel: line => line`, by the reason below which each is listed.
const SURVIVORS: &str = include_str!("survivors.txt");

/// Edits of each source in the short form.
const FEW: usize = 4;

/// Edits after which the GPU is opened anew: it keeps every pipeline.
const MOST_EDITS: usize = 64;

/// Names the one kernel whose edits are to be tried.
const ONE_KERNEL: &str = "BPTT_MUTATED_KERNEL";

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Parity failed.
    Caught,
    /// It does not compile.
    Refused,
    /// Parity passed.
    Survived,
}

/// A source under the op whose cases run it, with the kernels that are made of it.
struct Subject {
    op: &'static str,
    source: &'static str,
    kernels: Vec<&'static Kernel>,
}

impl Subject {
    /// The first kernel's name.
    fn name(&self) -> &'static str {
        self.kernels[0].name
    }

    /// The variants of the op that run the kernels.
    fn variants(&self) -> Vec<&'static str> {
        let variants = self.kernels.iter().map(|k| variant_of(self.op, k.name));
        let mut variants: Vec<_> = variants.collect();
        variants.dedup();
        variants
    }

    fn replace(&self, gpu: &mut Gpu, source: &str) {
        for kernel in &self.kernels {
            gpu.replace_kernel(kernel.name, source.to_owned());
        }
    }

    /// Do the op's own cases notice that `source` takes the place of the kernels' own?
    fn fate(&self, gpu: &mut Gpu, source: &str) -> Fate {
        self.replace(gpu, source);
        let fate = self.check(gpu);
        self.replace(gpu, self.source);
        fate
    }

    fn check(&self, gpu: &mut Gpu) -> Fate {
        for variant in self.variants() {
            match check_until_failure(gpu, self.op, variant, "") {
                Ok(Some(report)) if report.passed() => {}
                Ok(_) => return Fate::Caught,
                Err(_) => return Fate::Refused,
            }
        }
        Fate::Survived
    }
}

/// Every source once.
fn subjects() -> Vec<Subject> {
    let mut subjects: Vec<Subject> = Vec::new();
    for &(op, kernels) in KERNELS {
        for &kernel in kernels {
            match subjects.iter_mut().find(|s| s.source == kernel.source) {
                Some(subject) => subject.kernels.push(kernel),
                None => subjects.push(Subject {
                    op,
                    source: kernel.source,
                    kernels: vec![kernel],
                }),
            }
        }
    }
    subjects
}

/// An edit of a subject, as it is listed.
fn listed(subject: &Subject, edit: &Edit) -> String {
    let words = edit.in_words(subject.source);
    format!("{}: {words}", subject.name()).trim_end().to_owned()
}

/// Every `stride`-th of the edits that are not explained, from the middle of the first stride on.
fn few(subject: &Subject, edits: Vec<Edit>) -> Vec<Edit> {
    let explained = explained();
    let is_open = |edit: &Edit| !explained.contains(&&*listed(subject, edit));
    let open: Vec<Edit> = edits.into_iter().filter(is_open).collect();
    let stride = open.len().div_ceil(FEW).max(1);
    open.into_iter().skip(stride / 2).step_by(stride).collect()
}

/// Tries edits of every kernel; those that survived, in words.
fn survivors(choose: impl Fn(&Subject, Vec<Edit>) -> Vec<Edit>) -> Vec<String> {
    let mut survivors = Vec::new();
    let Some(mut gpu) = gpu() else {
        return survivors;
    };
    let mut total = BTreeMap::new();
    let asked = std::env::var(ONE_KERNEL).ok();
    let is_asked = |s: &Subject| asked.as_ref().is_none_or(|name| name == s.name());
    let (subjects, others): (Vec<_>, Vec<_>) = subjects()
        .into_iter()
        .filter(is_asked)
        .partition(|subject| gpu.can_run(subject.kernels[0]));
    for subject in others {
        let name = subject.name();
        say(&format!(
            "{name} is not edited: it is for subgroups of another size"
        ));
    }
    assert!(
        !subjects.is_empty(),
        "{ONE_KERNEL} names no kernel: {asked:?}"
    );
    for subject in subjects {
        let mut fates = BTreeMap::new();
        for (i, edit) in choose(&subject, edits(subject.source)).iter().enumerate() {
            if i % MOST_EDITS == MOST_EDITS - 1 {
                *gpu = Gpu::open(&adapters().swap_remove(0)).unwrap();
            }
            let fate = subject.fate(&mut gpu, &edit.apply(subject.source));
            *fates.entry(fate).or_insert(0) += 1;
            if fate == Fate::Survived {
                survivors.push(listed(&subject, edit));
                eprintln!("survived: {}", survivors[survivors.len() - 1]);
            }
        }
        eprintln!("{}: {fates:?}", subject.name());
        // A device that fails at everything catches nothing.
        assert!(fates.contains_key(&Fate::Caught), "{}", subject.name());
        for (fate, count) in fates {
            *total.entry(fate).or_insert(0) += count;
        }
    }
    eprintln!("all kernels: {total:?}");
    survivors
}

/// The listed survivors.
fn explained() -> Vec<&'static str> {
    let lines = SURVIVORS.lines().map(str::trim_end);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn unexplained(survivors: &[String]) -> Vec<&String> {
    let explained = explained();
    let is_new = |survivor: &&String| !explained.contains(&&***survivor);
    survivors.iter().filter(is_new).collect()
}

#[test]
fn some_edits_of_every_kernel_are_caught() {
    let survivors = survivors(few);
    assert!(survivors.is_empty(), "{survivors:#?}");
}

#[test]
#[ignore = "takes half an hour"]
fn every_edit_of_every_kernel_is_caught_or_explained() {
    let skipped = gpu().is_none();
    let survivors = survivors(|_, edits| edits);
    let unexplained = unexplained(&survivors);
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    if !skipped && std::env::var_os(ONE_KERNEL).is_none() {
        let is_run = |line: &&&str| {
            let runs = |s: &Subject| line.starts_with(&format!("{}: ", s.name()));
            let gpu = gpu();
            let can_run = |s: &Subject| gpu.as_ref().is_some_and(|gpu| gpu.can_run(s.kernels[0]));
            subjects().iter().any(|s| runs(s) && can_run(s))
        };
        let is_gone = |line: &&&str| is_run(line) && survivors.iter().all(|s| s != **line);
        let explained = explained();
        let gone: Vec<_> = explained.iter().filter(is_gone).collect();
        assert!(gone.is_empty(), "caught by now: {gone:#?}");
    }
}

#[test]
fn an_edit_that_changes_nothing_survives() {
    let Some(mut gpu) = gpu() else { return };
    let tanh = subjects().into_iter().find(|s| s.op == "tanh").unwrap();
    let nothing = format!("{}\n", tanh.source);
    assert_eq!(tanh.fate(&mut gpu, &nothing), Fate::Survived);
    assert_eq!(tanh.fate(&mut gpu, "fn main() {"), Fate::Refused);
    assert!(!unexplained(&["tanh: a => b".to_owned()]).is_empty());
}

#[test]
fn there_are_many_edits_and_each_source_has_some() {
    let count = |s: &Subject| edits(s.source).len();
    let counts: Vec<_> = subjects().iter().map(|s| (s.name(), count(s))).collect();
    eprintln!("{counts:?}");
    assert!(counts.iter().all(|(_, count)| *count >= 10), "{counts:?}");
}

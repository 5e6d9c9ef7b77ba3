//! The command as a process on a device that its environment chooses, and what it leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::command;
use super::skip::skip;
use super::skips::gpu_is_skipped;
use super::timeless::timeless;

/// Variables of a process.
pub type Environment = Vec<(&'static str, String)>;

/// A software Vulkan driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Mesa's lavapipe.
    Lavapipe,
    /// Google's SwiftShader, which Chromium brings.
    SwiftShader,
}

impl Driver {
    /// What makes a process see this driver alone; [`None`], and a line that says so, without it.
    pub fn environment(self) -> Option<Environment> {
        if gpu_is_skipped() {
            return None;
        }
        let Some(manifest) = self.manifest() else {
            skip(&format!(
                "{self:?} is not there (apt-get install {})",
                self.package()
            ));
            return None;
        };
        let manifest = manifest.display().to_string();
        // The second is what loaders before 1.3.207 read.
        let names = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
        Some(names.map(|name| (name, manifest.clone())).into())
    }

    /// The file by which the Vulkan loader finds the driver.
    fn manifest(self) -> Option<PathBuf> {
        let (folders, name): (&[&str], _) = match self {
            Driver::Lavapipe => (
                &["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"],
                "lvp_icd",
            ),
            Driver::SwiftShader => (
                &["/usr/lib/chromium", "/usr/lib64/chromium-browser"],
                "vk_swiftshader_icd",
            ),
        };
        let entries = folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok());
        let paths = entries.flatten().flatten().map(|entry| entry.path());
        let is_manifest = |path: &PathBuf| {
            let file = path.file_name().and_then(|name| name.to_str());
            file.is_some_and(|file| file.starts_with(name) && file.ends_with(".json"))
        };
        paths.filter(is_manifest).min()
    }

    fn package(self) -> &'static str {
        match self {
            Driver::Lavapipe => "mesa-vulkan-drivers",
            Driver::SwiftShader => "chromium-common",
        }
    }
}

/// `environment` and one variable more.
pub fn with(environment: &Environment, name: &'static str, value: &str) -> Environment {
    [environment.clone(), vec![(name, value.to_owned())]].concat()
}

/// Runs `bptt`, and fails with what it says where it fails.
#[track_caller]
pub fn bptt(folder: &Path, environment: &Environment, arguments: &[&str]) -> Output {
    let output = command::bptt(folder, arguments)
        .envs(environment.iter().cloned())
        .output()
        .expect("the binary starts");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{environment:?}: {said}");
    output
}

/// What is trained, on how many characters of a text.
pub struct Sizes {
    pub arguments: &'static str,
    pub characters: usize,
}

/// Some 70 windows of 4 streams by 8 steps.
pub const SMALL: Sizes = Sizes {
    arguments: "--emsize 8 --nhid 20 --batch-size 4 --bptt 8 --log-interval 5",
    characters: 2_500,
};

/// A model that a process has trained.
pub struct Trained {
    folder: tempfile::TempDir,
    environment: Environment,
    device: &'static str,
}

impl Trained {
    /// Trains on windows of a text, with a validation at the end.
    pub fn new(sizes: &Sizes, device: &'static str, environment: &Environment, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keeper = concat!(env!("CARGO_MANIFEST_DIR"), "/src/data/keeper.txt");
        let text = fs::read_to_string(keeper).expect("a text");
        let text: String = text.chars().take(sizes.characters).collect();
        fs::write(folder.path().join("text.txt"), text).expect("a file");
        let seed = seed.to_string();
        let sizes: Vec<_> = sizes.arguments.split(' ').collect();
        let run = ["train", "--data", "text.txt", "--valid-fraction", "0.1"];
        let place = ["--epochs", "1", "--out", "run", "--device", device];
        let arguments = [&run[..], &place, &sizes, &["--seed", &seed]].concat();
        bptt(folder.path(), environment, &arguments);
        Trained {
            folder,
            environment: environment.clone(),
            device,
        }
    }

    /// The file of the weights.
    pub fn weights(&self) -> Vec<u8> {
        let checkpoints = self.folder.path().join("run/checkpoints");
        let last = fs::read_to_string(checkpoints.join("last")).expect("a last checkpoint");
        fs::read(checkpoints.join(last).join("model.safetensors")).expect("weights")
    }

    /// The lines of the log, without the two fields that a clock gives.
    pub fn log(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.folder.path().join("run/metrics.jsonl"));
        let event = |line| timeless(line).expect("an event");
        text.expect("a log").lines().map(event).collect()
    }

    /// Two texts that another process writes with the model.
    pub fn samples(&self, seed: u64) -> Vec<u8> {
        let seed = seed.to_string();
        let place = ["generate", "run", "--device", self.device, "--seed", &seed];
        let what = ["--samples", "2", "--length", "100", "--prompt", "The "];
        let arguments = [&place[..], &what].concat();
        bptt(self.folder.path(), &self.environment, &arguments).stdout
    }
}

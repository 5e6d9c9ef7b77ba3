//! Which files hold which text.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The embedded text, 48,676 characters of 63 kinds: the log of an invented lighthouse keeper,
/// written for this crate.
pub const EMBEDDED: &str = "the embedded text, The Keeper of Grey Holm";

/// The files of each text.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Files {
    /// What is trained on, one text in this order; the embedded text if there are none.
    pub train: Vec<PathBuf>,
    /// What is validated on, if it has files of its own.
    pub valid: Vec<PathBuf>,
    /// What a trained model is tested on; training only takes its characters into the vocabulary.
    pub test: Vec<PathBuf>,
}

/// What a file's name says that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Valid,
    Test,
}

impl Files {
    /// `data` is files, or one folder: its files train, valid (or val, dev) and test, by a word of
    /// their names; or else all its texts. `valid` stands before what the folder has.
    ///
    /// # Errors
    /// [`Error::Config`] for a folder beside others, or a file that is given twice;
    /// [`Error::Folder`] for a folder from which it is not clear what to train on; [`Error::Read`].
    pub fn find(data: &[PathBuf], valid: Option<&Path>) -> Result<Self> {
        let mut files = match data {
            [folder] if folder.is_dir() => Files::in_folder(folder)?,
            _ => Files {
                train: data.to_vec(),
                ..Files::default()
            },
        };
        if let Some(folder) = files.train.iter().find(|path| path.is_dir()) {
            return Err(Error::Config {
                field: "data",
                value: folder.display().to_string(),
                expected: "a folder must be the only --data; else give files".to_owned(),
            });
        }
        if let Some(valid) = valid {
            files.valid = vec![valid.to_owned()];
        }
        files.require_distinct()?;
        Ok(files)
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let unclear = |what: String| Error::Folder {
            path: folder.to_owned(),
            what,
        };
        let texts = texts_in(folder)?;
        let mut files = Files::default();
        for path in &texts {
            let file = path.file_name().unwrap_or_default().display();
            match roles(path)[..] {
                [] => {}
                [Role::Train] => files.train.push(path.clone()),
                [Role::Valid] => files.valid.push(path.clone()),
                [Role::Test] => files.test.push(path.clone()),
                _ => return Err(unclear(format!("is {file} for training or not?"))),
            }
        }
        if files == Files::default() {
            files.train = texts;
        }
        if files.train.is_empty() {
            return Err(unclear(match files.valid.first().or(files.test.first()) {
                Some(other) => format!("has {}, but no train*.txt", other.display()),
                None => "has no *.txt".to_owned(),
            }));
        }
        Ok(files)
    }

    /// A text that is also trained on shows nothing; one that is there twice is hardly meant.
    fn require_distinct(&self) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        let parts = [("data", &self.train), ("valid", &self.valid)];
        for (field, path) in parts
            .iter()
            .flat_map(|(f, paths)| paths.iter().map(move |p| (f, p)))
        {
            let file = path.canonicalize().unwrap_or_else(|_| path.clone());
            if !seen.insert(file) {
                return Err(Error::Config {
                    field,
                    value: path.display().to_string(),
                    expected: "it is already in --data; give each file once".to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// The text files of a folder by name; hidden ones, and folders in it, are left out.
fn texts_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::read(folder))? {
        let path = entry.map_err(Error::read(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // WikiText's files end in .tokens.
        let text = path.extension().is_some_and(|extension| {
            ["txt", "tokens"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        });
        if text && !name.starts_with('.') && path.is_file() {
            texts.push(path);
        }
    }
    texts.sort();
    Ok(texts)
}

/// What the words of a file's name say; a number may follow: "ptb.train.txt", "train-00001.txt".
fn roles(path: &Path) -> Vec<Role> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    let words = name.split(|c: char| !c.is_alphanumeric());
    let mut roles: Vec<Role> = words
        .filter_map(
            |word| match word.trim_end_matches(|c: char| c.is_ascii_digit()) {
                "train" | "training" => Some(Role::Train),
                "valid" | "validation" | "val" | "dev" => Some(Role::Valid),
                "test" | "testing" => Some(Role::Test),
                _ => None,
            },
        )
        .collect();
    roles.dedup();
    roles
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.train.as_slice() {
            [] => write!(f, "{EMBEDDED}")?,
            train => list(f, train)?,
        }
        for (what, paths) in [("validation", &self.valid), ("test", &self.test)] {
            if !paths.is_empty() {
                write!(f, "; {what}: ")?;
                list(f, paths)?;
            }
        }
        Ok(())
    }
}

/// "a.txt", "a.txt and b.txt", "a.txt … z.txt (26 files)".
fn list(f: &mut fmt::Formatter<'_>, paths: &[PathBuf]) -> fmt::Result {
    match paths {
        [] => Ok(()),
        [one] => write!(f, "{}", one.display()),
        [one, two] => write!(f, "{} and {}", one.display(), two.display()),
        [first, .., last] => {
            let count = paths.len();
            write!(
                f,
                "{} … {} ({count} files)",
                first.display(),
                last.display()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the texts of a folder with these files; names only.
    fn find(names: &[&str]) -> Result<[Vec<String>; 3]> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "text").unwrap();
        }
        std::fs::create_dir(folder.path().join("folder.txt")).unwrap();
        let files = Files::find(&[folder.path().to_owned()], None)?;
        let names = |paths: Vec<PathBuf>| {
            let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            paths.iter().map(name).collect()
        };
        Ok([files.train, files.valid, files.test].map(names))
    }

    #[test]
    fn the_files_of_a_folder_are_found_by_the_words_of_their_names() {
        for [train, valid, test] in [
            ["train.txt", "valid.txt", "test.txt"],
            ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"],
            ["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"],
            ["a-training.TXT", "val_1.txt", "TEST.txt"],
            ["train2.txt", "dev.txt", "x.test-b.txt"],
        ] {
            let found = find(&[test, "notes.txt", "train.py", valid, train]).unwrap();
            assert_eq!(
                found,
                [[train], [valid], [test]].map(|names| names.map(String::from).to_vec())
            );
        }
        let [train, valid, test] = find(&["train-1.txt", "train-0.txt"]).unwrap();
        assert_eq!((train[0].as_str(), train.len()), ("train-0.txt", 2));
        assert!(valid.is_empty() && test.is_empty());
    }

    #[test]
    fn without_such_names_all_texts_of_a_folder_are_one() {
        // "testament" is not "test", nor "values" val.
        let names = [
            "values.txt",
            "b.md",
            ".hidden.txt",
            "testament.txt",
            "Training day.txt",
        ];
        let [train, valid, test] = find(&names[..4]).unwrap();
        assert_eq!(train, ["testament.txt", "values.txt"]);
        assert!(valid.is_empty() && test.is_empty());
    }

    #[test]
    fn a_folder_that_does_not_say_what_to_train_on_is_refused() {
        for (names, hint) in [
            (&["b.md"][..], "has no *.txt"),
            (&[], "has no *.txt"),
            (&["a.txt", "test.txt"], "test.txt, but no train*.txt"),
            (
                &["train-test.txt"],
                "is train-test.txt for training or not?",
            ),
        ] {
            let error = find(names).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn a_file_is_given_once() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        for path in [&a, &b] {
            std::fs::write(path, "text").unwrap();
        }
        let again = folder.path().join(".").join("a");
        let twice = Files::find(&[a.clone(), b.clone(), again.clone()], None).unwrap_err();
        assert!(twice.to_string().starts_with("data = "), "{twice}");
        let trained_on = Files::find(&[b.clone(), a.clone()], Some(&again)).unwrap_err();
        assert!(
            trained_on.to_string().starts_with("valid = "),
            "{trained_on}"
        );
        let files = Files::find(&[b.clone(), a.clone()], None).unwrap();
        assert_eq!(files.train, [b.clone(), a]);
        let mixed = Files::find(&[b, folder.path().to_owned()], None).unwrap_err();
        assert!(mixed.to_string().contains("the only --data"), "{mixed}");
    }
}

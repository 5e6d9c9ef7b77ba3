//! Files and folders that are there whole or not at all, also after a power failure: contents reach
//! the disk before the name does.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};

/// How names of unfinished things begin.
const UNFINISHED: &str = ".bptt-";

/// Writes a file and waits until it is on the disk.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = create(path, bytes)?;
    file.sync_all().map_err(Error::write(path))
}

/// Writes a file that may not be on the disk yet.
fn create(path: &Path, bytes: &[u8]) -> Result<File> {
    let created = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        Ok(file)
    });
    created.map_err(Error::write(path))
}

/// Replaces a file by one with these contents: at every moment the one or the other is there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = tempfile::Builder::new();
    file.prefix(UNFINISHED);
    // As any new file: the umask decides.
    #[cfg(unix)]
    file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let written = file.tempfile_in(parent(path)).and_then(|mut file| {
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)
    });
    written.map_err(Error::write(path))?;
    sync_folder(parent(path))
}

/// [`replace`] with a value as JSON.
pub fn replace_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec_pretty(value).map_err(|e| Error::run(path, e.to_string()))?;
    replace(path, &json)
}

/// Writes a folder of files, and gives it its name when all of it is on the disk. A folder that has
/// the name already is replaced.
pub fn write_folder(path: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let temporary = unfinished_folder(parent(path))?;
    let mut written = Vec::new();
    for (name, bytes) in files {
        let path = temporary.path().join(name);
        written.push((create(&path, bytes)?, path));
    }
    // All are written before the first is waited for: one wait does for most of the work.
    for (file, path) in &written {
        file.sync_all().map_err(Error::write(path))?;
    }
    drop(written);
    sync_folder(temporary.path())?;
    let old = path.exists().then(|| put_aside(path)).transpose()?;
    if let Err(error) = std::fs::rename(temporary.path(), path) {
        if let Some(old) = old {
            // The error that is reported is the one that came first.
            let _ = std::fs::rename(old, path);
        }
        return Err(Error::write(path)(error));
    }
    // It has its name now.
    let _ = temporary.keep();
    sync_folder(parent(path))?;
    old.map_or(Ok(()), |old| remove_unnamed(&old))
}

/// Removes a folder: it is there whole until its name is gone.
pub fn remove_folder(path: &Path) -> Result<()> {
    remove_unnamed(&put_aside(path)?)
}

fn remove_unnamed(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path).map_err(Error::write(path))
}

/// Gives a folder the name of an unfinished one, which takes no room on a full disk.
fn put_aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = parent(path).join(format!("{UNFINISHED}{name}"));
    if aside.exists() {
        remove_unnamed(&aside)?;
    }
    std::fs::rename(path, &aside).map_err(Error::write(path))?;
    Ok(aside)
}

/// Removes what an interrupted process left unfinished in `folder`.
pub fn remove_unfinished(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::read(folder))? {
        let path = entry.map_err(Error::read(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| name.starts_with(UNFINISHED)) {
            continue;
        }
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        removed.map_err(Error::write(&path))?;
    }
    Ok(())
}

/// A folder that goes away unless it is kept.
fn unfinished_folder(parent: &Path) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // As any new folder: the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder.tempdir_in(parent).map_err(Error::write(parent))
}

/// Waits until the names in a folder are on the disk. Where folders cannot be opened (Windows), the
/// file system sees to it.
pub fn sync_folder(path: &Path) -> Result<()> {
    #[cfg(unix)]
    std::fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::write(path))?;
    let _ = path;
    Ok(())
}

/// An output folder that is filled at once or not at all: its name is taken at the beginning, by an
/// empty folder; files are written into a folder beside it, which replaces that one at the end.
/// Dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct NewFolder {
    path: PathBuf,
    temporary: tempfile::TempDir,
    made: NewFolders,
}

/// Folders that were made, the deepest first, and are removed again while they are empty.
#[derive(Debug)]
struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Makes `path`, which must not exist, and all folders above it.
    fn make(path: &Path) -> std::io::Result<Self> {
        let missing = parent(path).ancestors().take_while(|path| !path.exists());
        let mut made = NewFolders(missing.map(Path::to_owned).collect());
        std::fs::create_dir_all(parent(path))?;
        std::fs::create_dir(path)?;
        made.0.insert(0, path.to_owned());
        Ok(made)
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        for path in &self.0 {
            // Fails, as it should, where something has been put there since.
            let _ = std::fs::remove_dir(path);
        }
    }
}

impl NewFolder {
    /// Takes the name `path`, and makes all folders above it.
    ///
    /// # Errors
    /// [`Error::Exists`] if it is there already, [`Error::Write`] if it cannot be written.
    pub fn prepare(path: &Path) -> Result<Self> {
        let made = NewFolders::make(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Exists {
                path: path.to_owned(),
            },
            _ => Error::write(path)(source),
        })?;
        let temporary = unfinished_folder(parent(path))?;
        Ok(NewFolder {
            path: path.to_owned(),
            temporary,
            made,
        })
    }

    /// Where to write files until [`NewFolder::publish`].
    pub fn files(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the files their folder.
    ///
    /// # Errors
    /// [`Error::Unpublished`] if that fails: the files are kept where they are.
    pub fn publish(mut self) -> Result<PathBuf> {
        sync_folder(self.temporary.path())?;
        // Nothing is temporary any more, whatever happens now.
        let files = self.temporary.keep();
        // An empty folder is replaced in one step, but not on every system.
        #[cfg(not(unix))]
        let _ = std::fs::remove_dir(&self.path);
        std::fs::rename(&files, &self.path).map_err(|source| Error::Unpublished {
            files,
            path: self.path.clone(),
            source,
        })?;
        // The name of each folder that was made is in the one above it.
        for made in std::mem::take(&mut self.made.0) {
            sync_folder(parent(&made))?;
        }
        Ok(self.path)
    }
}

/// The folder that `path` is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        drop(NewFolder::prepare(&path).unwrap());
        assert!(!parent.path().join("a").exists());
        let folder = NewFolder::prepare(&path).unwrap();
        write(&folder.files().join("file"), b"text").unwrap();
        assert_eq!(folder.publish().unwrap(), path);
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"text");
        assert!(matches!(
            NewFolder::prepare(&path),
            Err(Error::Exists { .. })
        ));
    }

    #[test]
    fn files_and_folders_are_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let (file, folder) = (parent.path().join("file"), parent.path().join("folder"));
        for text in [b"one", b"two"] {
            replace(&file, text).unwrap();
            write_folder(&folder, &[("a", text)]).unwrap();
            assert_eq!(std::fs::read(&file).unwrap(), text);
            assert_eq!(std::fs::read(folder.join("a")).unwrap(), text);
        }
        std::fs::write(parent.path().join(".bptt-half"), "").unwrap();
        std::fs::create_dir(parent.path().join(".bptt-other")).unwrap();
        remove_unfinished(parent.path()).unwrap();
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 2);
    }
}

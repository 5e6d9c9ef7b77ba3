//! Files and folders that are there whole or not at all, also after a power failure: contents reach
//! the disk before the name does.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::TempDir;

use crate::error::{Error, Result};

/// How names of unfinished things begin.
const UNFINISHED: &str = ".bptt-";
/// The file of a new folder that is locked while it is filled. In a run, the process that trains it
/// locks it from then on.
pub const LOCK: &str = "lock";

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
    let temporary = unfinished_folder(parent(path), "").map_err(Error::write(parent(path)))?;
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
        remove_any(&path).map_err(Error::write(&path))?;
    }
    Ok(())
}

fn remove_any(path: &Path) -> std::io::Result<()> {
    match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    }
}

/// A folder that goes away unless it is kept.
fn unfinished_folder(parent: &Path, suffix: impl AsRef<OsStr>) -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED).suffix(&suffix);
    // As any new folder: the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder.tempdir_in(parent)
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
///
/// A process that is killed leaves both. The folder beside is locked by the process that fills it; one
/// that nobody locks tells that the empty one is nobody's, and who wants the name may have it.
#[derive(Debug)]
pub struct NewFolder {
    path: PathBuf,
    // Dropped in this order: no other process may take the name over before it is given back.
    name: NewFolders,
    lock: File,
    temporary: TempDir,
    above: NewFolders,
}

/// Folders that were made, the deepest first, and are removed again while they are empty.
#[derive(Debug)]
struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Makes all folders above `path`.
    fn above(path: &Path) -> std::io::Result<Self> {
        let missing = parent(path).ancestors().take_while(|path| !path.exists());
        let made = NewFolders(missing.map(Path::to_owned).collect());
        std::fs::create_dir_all(parent(path))?;
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

/// What an unfinished folder's name ends with, if its files are for `path`.
fn suffix(path: &Path) -> OsString {
    let mut suffix = OsString::from("-");
    suffix.push(path.file_name().unwrap_or_default());
    suffix
}

/// Locks an unfinished folder, which one may make the file for that made the folder. An error of the
/// kind `WouldBlock` or `NotFound` if another process has locked it, or removed it since.
fn lock(folder: &Path, make: bool) -> std::io::Result<File> {
    let path = folder.join(LOCK);
    let file = File::options().create(make).append(true).open(&path)?;
    file.try_lock()?;
    match path.exists() {
        true => Ok(file),
        false => Err(ErrorKind::NotFound.into()),
    }
}

/// A new unfinished folder for `path`, locked.
fn locked_folder(path: &Path) -> std::io::Result<(TempDir, File)> {
    loop {
        let folder = unfinished_folder(parent(path), suffix(path))?;
        match lock(folder.path(), true) {
            // Another process found it before it was locked, and took it for one that was left behind.
            Err(e) if [ErrorKind::WouldBlock, ErrorKind::NotFound].contains(&e.kind()) => {}
            locked => return Ok((folder, locked?)),
        }
    }
}

/// The unfinished folders for `path` but `own`, all of them left behind by processes that were killed,
/// and now locked by this one; none if another process fills one of them, or where that is not known.
fn left_behind(path: &Path, own: &Path) -> Option<Vec<(PathBuf, File)>> {
    let suffix = suffix(path);
    let mut left = Vec::new();
    for entry in std::fs::read_dir(parent(path)).ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        let random = bytes
            .strip_prefix(UNFINISHED.as_bytes())
            .and_then(|rest| rest.strip_suffix(suffix.as_encoded_bytes()));
        // Else it is for a longer name that ends alike.
        if random.is_none_or(|random| random.contains(&b'-')) || own.file_name() == Some(&name) {
            continue;
        }
        match lock(&entry.path(), false) {
            Ok(lock) => left.push((entry.path(), lock)),
            // It has its name now, or is kept for good. Or it is as new as it can be: who made it makes
            // another one, if there is still somebody.
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let _ = std::fs::remove_dir(entry.path());
            }
            Err(_) => return None,
        }
    }
    Some(left)
}

/// Removes a folder that a killed process left, the lock last: one without it is not known for such.
fn remove_left(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            remove_any(&entry.path())?;
        }
    }
    std::fs::remove_dir_all(folder)
}

/// A link to one is none.
fn is_empty_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
        && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

impl NewFolder {
    /// Takes the name `path`, and makes all folders above it.
    ///
    /// # Errors
    /// [`Error::Exists`] if it is there already, [`Error::Write`] if it cannot be written.
    pub fn prepare(path: &Path) -> Result<Self> {
        let exists = || Error::Exists {
            path: path.to_owned(),
        };
        if path.symlink_metadata().is_ok() && !is_empty_folder(path) {
            return Err(exists());
        }
        let above = NewFolders::above(path).map_err(Error::write(path))?;
        let (temporary, lock) = locked_folder(path).map_err(Error::write(path))?;
        let made = std::fs::create_dir(path);
        // Only now: who made it before has locked a folder before, which is seen here. Of two processes
        // that come upon what a third left, at least one sees the other, and lets it be.
        let left = left_behind(path, temporary.path());
        let is_left = || left.as_ref().is_some_and(|left| !left.is_empty());
        match made {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                if !is_left() || !is_empty_folder(path) {
                    return Err(exists());
                }
            }
            made => made.map_err(Error::write(path))?,
        }
        let name = NewFolders(vec![path.to_owned()]);
        for (folder, _lock) in left.into_iter().flatten() {
            // In nobody's way, if that fails.
            let _ = remove_left(&folder);
        }
        Ok(NewFolder {
            path: path.to_owned(),
            name,
            lock,
            temporary,
            above,
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
    pub fn publish(self) -> Result<PathBuf> {
        sync_folder(self.temporary.path())?;
        let NewFolder {
            path,
            mut name,
            lock,
            temporary,
            mut above,
        } = self;
        // Nothing is temporary any more, whatever happens now.
        let files = temporary.keep();
        // An empty folder is replaced in one step, and a folder with an open file in it gets another
        // name, but not on every system.
        #[cfg(not(unix))]
        {
            drop(lock);
            let _ = std::fs::remove_dir(&path);
        }
        if let Err(source) = std::fs::rename(&files, &path) {
            // Without it they are not taken for what a killed process left.
            let _ = std::fs::remove_file(files.join(LOCK));
            return Err(Error::Unpublished {
                files,
                path,
                source,
            });
        }
        // The name of each folder that was made is in the one above it.
        for made in [&mut name, &mut above] {
            for made in std::mem::take(&mut made.0) {
                sync_folder(parent(&made))?;
            }
        }
        #[cfg(unix)]
        drop(lock);
        Ok(path)
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

    /// What a process leaves that is killed before its folder has a content.
    fn killed(folder: NewFolder) {
        let NewFolder {
            name,
            lock,
            temporary,
            above,
            ..
        } = folder;
        std::mem::forget((name, above));
        let _ = temporary.keep();
        drop(lock);
    }

    fn is_refused(path: &Path) -> bool {
        matches!(NewFolder::prepare(path), Err(Error::Exists { .. }))
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_name_is_taken_over_from_a_killed_process() {
        let parent = tempfile::tempdir().unwrap();
        let (path, other) = (parent.path().join("run"), parent.path().join("a-run"));
        // Nobody's, but not left by a process.
        std::fs::create_dir(&path).unwrap();
        killed(NewFolder::prepare(&other).unwrap());
        assert!(is_refused(&path));
        std::fs::remove_dir(&path).unwrap();

        let alive = NewFolder::prepare(&path).unwrap();
        assert!(is_refused(&path));
        killed(alive);
        // Somebody has put something there since.
        std::fs::write(path.join("file"), "").unwrap();
        assert!(is_refused(&path));
        std::fs::remove_file(path.join("file")).unwrap();
        // Killed before it was locked.
        std::fs::create_dir(parent.path().join(".bptt-a1b2c3-run")).unwrap();
        let alive = NewFolder::prepare(&path).unwrap();
        assert!(is_refused(&path));
        assert_eq!(names(parent.path()).len(), 4);
        // Once more, and it is given back.
        killed(alive);
        drop(NewFolder::prepare(&path).unwrap());
        assert_eq!(names(parent.path()).len(), 2);

        killed(NewFolder::prepare(&path).unwrap());
        let folder = NewFolder::prepare(&path).unwrap();
        write(&folder.files().join("file"), b"text").unwrap();
        folder.publish().unwrap();
        assert_eq!(std::fs::read(path.join("file")).unwrap(), b"text");
        drop(NewFolder::prepare(&other).unwrap());
        assert_eq!(names(parent.path()), ["run"]);
    }

    #[test]
    fn files_without_their_name_are_kept() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let folder = NewFolder::prepare(&path).unwrap();
        write(&folder.files().join("file"), b"text").unwrap();
        std::fs::write(path.join("other"), "").unwrap();
        let Err(Error::Unpublished { files, .. }) = folder.publish() else {
            panic!("it replaces a folder that is not empty");
        };
        std::fs::remove_dir_all(&path).unwrap();
        drop(NewFolder::prepare(&path).unwrap());
        assert_eq!(std::fs::read(files.join("file")).unwrap(), b"text");
    }

    #[test]
    fn a_name_is_taken_over_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let mut taken = 0;
        for _ in 0..100 {
            killed(NewFolder::prepare(&path).unwrap());
            let all_at_once = std::sync::Barrier::new(4);
            let take = || {
                all_at_once.wait();
                let taken = NewFolder::prepare(&path);
                // What is taken is held until all have tried.
                all_at_once.wait();
                taken.is_ok()
            };
            let all = std::thread::scope(|threads| {
                let threads = [(); 4].map(|()| threads.spawn(take));
                threads.map(|thread| thread.join().unwrap())
            });
            let now = all.into_iter().filter(|taken| *taken).count();
            assert!(now <= 1, "{now}");
            taken += now;
            // One gets it that comes alone.
            drop(NewFolder::prepare(&path).unwrap());
        }
        assert!(taken > 0);
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

//! One process for one task on one machine.
//!
//! The lock is the kernel's, on an open file: it goes with the process, however that ends. The file stays.

use std::{
    env,
    fs::{File, TryLockError, create_dir_all},
    path::{Path, PathBuf},
};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};

/// Held for as long as the task runs.
pub(crate) struct TaskLock {
    _file: File,
    dir: PathBuf,
}

impl TaskLock {
    /// The state directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creates the state directory where needed and takes the lock of `task` in it.
    pub(crate) fn take(state_dir: Option<&Path>, task: &str) -> Result<Self> {
        let dir = self::state_dir(state_dir)?;
        let path = dir.join(format!("{task}.lock"));
        let context = || format!("lock {}", path.display());
        create_dir_all(&dir).or_err(ErrorKind::StateDir, context)?;
        let file = File::options().create(true).append(true).open(&path).or_err(ErrorKind::StateDir, context)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file, dir }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(ErrorKind::TaskRunning, format!("{}: another process runs task `{task}`", context())))
            }
            Err(TryLockError::Error(e)) => Err(Error::new(ErrorKind::StateDir, context()).caused_by(e)),
        }
    }
}

/// The state directory: the one that was given, or that of the user.
pub(crate) fn state_dir(given: Option<&Path>) -> Result<PathBuf> {
    given.map_or_else(default_dir, |dir| Ok(dir.to_owned()))
}

fn default_dir() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .map(|dir| dir.join("keyferry"))
        .ok_or_else(|| {
            Error::new(ErrorKind::StateDir, "find the state directory: neither XDG_STATE_HOME nor HOME is set")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not/yet/there");
        let held = TaskLock::take(Some(&path), "a").unwrap();
        let refused = TaskLock::take(Some(&path), "a").err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::TaskRunning);
        TaskLock::take(Some(&path), "b").unwrap();
        drop(held);
        TaskLock::take(Some(&path), "a").unwrap();
    }
}

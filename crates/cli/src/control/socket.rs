//! Where the socket of a task is: `<task>.sock` in the state directory.

use std::{
    fs::File,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use keyferry_model::{Error, ErrorKind, Result, ResultExt as _};

/// What the kernel takes as the name of a socket (`sun_path`, without the byte that ends it).
const MAX_NAME: usize = 107;

/// Where a socket is, and a name for it that the kernel takes.
pub(super) struct Address {
    /// Where it is.
    pub(super) path: PathBuf,
    /// How it is named to the kernel.
    pub(super) name: PathBuf,
    /// Stands in the name.
    _dir: Option<File>,
}

impl Address {
    /// Of `task` in the state directory `dir`, which has to be there.
    ///
    /// Errors: `Control` when there is no name short enough; `NotRunning` when there is no such directory.
    pub(super) fn new(dir: &Path, task: &str) -> Result<Self> {
        let file = format!("{task}.sock");
        let path = dir.join(&file);
        if path.as_os_str().len() <= MAX_NAME {
            return Ok(Self { name: path.clone(), path, _dir: None });
        }
        // The directory by its number in this process, which is short whatever it is called.
        let opened = File::open(dir).or_err(ErrorKind::NotRunning, || format!("open {}", dir.display()))?;
        let name = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(file);
        if name.as_os_str().len() > MAX_NAME {
            let what = format!("name the socket of task `{task}`: give the task a shorter name with --task");
            return Err(Error::new(ErrorKind::Control, what));
        }
        Ok(Self { path, name, _dir: Some(opened) })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_deep_directory_has_a_short_name() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let there = Address::new(&deep, "a").unwrap();
        assert!(there.path.as_os_str().len() > MAX_NAME);
        let listener = UnixListener::bind(&there.name).unwrap();
        UnixStream::connect(&Address::new(&deep, "a").unwrap().name).unwrap();
        listener.accept().unwrap();
        assert!(there.path.exists());
        let long = Address::new(&deep, &"t".repeat(100)).err().unwrap();
        assert_eq!(long.kind(), ErrorKind::Control);
    }
}

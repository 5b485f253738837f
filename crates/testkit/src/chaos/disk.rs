//! A small disk of its own for what the product keeps, so that it can be full.

use std::{
    fs::{self, File},
    io::Write as _,
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::{self, Command, Stdio},
};

use anyhow::Result;

/// More than the product needs, and little to fill.
const SIZE: &str = "size=96m";

/// A folder, on a disk of its own where this process may make one.
pub(super) struct Disk {
    path: PathBuf,
    own: bool,
    // It is on no path any more: with the last process that has it open it is gone, whatever happens.
    _open: File,
    _place: tempfile::TempDir,
}

impl Disk {
    pub(super) fn new() -> Result<Self> {
        let place = tempfile::tempdir()?;
        let run = |program: &str, args: &[&str]| {
            let quiet = || Stdio::null();
            let done = Command::new(program).args(args).arg(place.path()).stdout(quiet()).stderr(quiet()).status();
            done.is_ok_and(|status| status.success())
        };
        let mounted = run("mount", &["-t", "tmpfs", "-o", SIZE, "keyferry-chaos"]);
        let open = File::open(place.path())?;
        let own = mounted && run("umount", &["-l"]);
        let path = match own {
            true => PathBuf::from(format!("/proc/{}/fd/{}", process::id(), open.as_raw_fd())),
            false => place.path().to_owned(),
        };
        Ok(Self { path, own, _open: open, _place: place })
    }

    pub(super) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Leaves no room on it; `false` where it is not a disk of its own.
    pub(super) fn fill(&self) -> Result<bool> {
        if !self.own {
            return Ok(false);
        }
        let mut ballast = File::create(self.path.join("ballast"))?;
        for size in [1 << 20, 4096, 1] {
            while ballast.write(&vec![0; size]).is_ok() {}
        }
        Ok(true)
    }

    pub(super) fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.path.join("ballast"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_freed() {
        let disk = Disk::new().unwrap();
        let write = |name| fs::write(disk.path().join(name), "text");
        write("first").unwrap();
        if disk.fill().unwrap() {
            assert_eq!(write("second").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
            disk.free().unwrap();
            write("first").unwrap();
        }
    }
}

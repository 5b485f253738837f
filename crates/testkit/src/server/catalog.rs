//! Which servers there are, where they lie, and what their version can be told.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A server by name, such as `redis-7.0`: the family, and the version that it was built as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    name: String,
    redis: bool,
    number: (u32, u32),
}

impl Version {
    /// Reads `redis-7.0`, `valkey-8.1` or `redict-7.3`.
    pub fn parse(name: &str) -> Result<Self> {
        let parts = || {
            let (family, number) = name.split_once('-')?;
            let (major, minor) = number.split_once('.')?;
            Some(Self {
                name: name.into(),
                redis: family == "redis",
                number: (major.parse().ok()?, minor.parse().ok()?),
            })
        };
        parts().with_context(|| format!("not the name of a server: {name:?} (expected one like redis-7.0)"))
    }

    /// The name as it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this server has what Redis of that version has. Valkey and Redict both descend from Redis 7.2.
    pub fn has(&self, major: u32, minor: u32) -> bool {
        let number = if self.redis { self.number } else { (7, 2) };
        number >= (major, minor)
    }

    /// Whether this server is that Valkey or a later one.
    pub fn valkey(&self, major: u32, minor: u32) -> bool {
        self.name.starts_with("valkey-") && self.number >= (major, minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The folder that holds the servers: `KEYFERRY_SERVERS_DIR`, or `keyferry/servers` in the user's cache folder.
pub fn servers_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("KEYFERRY_SERVERS_DIR").filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&env::var_os("HOME").context("neither KEYFERRY_SERVERS_DIR nor HOME is set")?).join(".cache"),
    };
    Ok(cache.join("keyferry/servers"))
}

/// The path of a program of a server, such as `redis-server` or `redis-cli` of `redis-7.0`.
pub fn program(name: &str, program: &str) -> Result<PathBuf> {
    let path = servers_dir()?.join(name).join(program);
    if path.exists() { Ok(path) } else { Err(super::missing(name, &path)) }
}

/// A module: a path, or the name of one that came with the server or lies in the shared `modules` folder.
pub(super) fn module(server: &str, name: &str) -> Result<PathBuf> {
    let dir = servers_dir()?;
    let file = format!("{name}.so");
    let places = [PathBuf::from(name), dir.join(server).join("modules").join(&file), dir.join("modules").join(&file)];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| super::missing(name, &dir.join("modules").join(&file)))
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions() {
        let version = Version::parse("redis-6.2").unwrap();
        assert!(version.has(6, 0) && version.has(6, 2) && !version.has(7, 0));
        let version = Version::parse("valkey-9.0").unwrap();
        assert!(version.has(7, 2) && !version.has(7, 4));
        assert!(version.valkey(8, 1) && version.valkey(9, 0) && !version.valkey(9, 1));
        assert!(!Version::parse("redict-7.3").unwrap().valkey(7, 0));
        assert!(Version::parse("redis").is_err() && Version::parse("redis-x.y").is_err());
    }
}

//! What the path of a Unix endpoint names: a socket file, an abstract name, or something that is not a socket.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::endpoint::{Endpoint, abstract_name};

/// Whether it is an abstract name and no file.
///
/// # Errors
///
/// If it is, and this system has none.
pub(super) fn is_abstract(path: &Path) -> io::Result<bool> {
    let is_abstract = abstract_name(path).is_some();
    if is_abstract && !cfg!(any(target_os = "linux", target_os = "android")) {
        let what = "only Linux has abstract names; name a socket file";
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    Ok(is_abstract)
}

/// What is at the endpoint's path instead of a socket, if anything. The errors of the system do not tell: they are those of
/// a listener that exists, or that does not.
pub(super) fn obstacle(endpoint: &Endpoint) -> Option<&'static str> {
    let Endpoint::Unix(path) = endpoint else { return None };
    match fs::metadata(path).map(|metadata| metadata.file_type()) {
        Ok(found) if found.is_file() => Some("a file"),
        Ok(found) if found.is_dir() => Some("a directory"),
        Ok(found) if found.is_socket() => None,
        Ok(_) => Some("a device or a pipe"),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            Some("a link to a file that does not exist")
        }
        Err(_) => None,
    }
}

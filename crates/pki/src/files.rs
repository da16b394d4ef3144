//! Keys and certificates in files: read with the path in the error, written atomically.
//!
//! A key is 0600 from its first byte on. A reader sees the old or the new content, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{Ca, Identity, PkiError};

/// Reads a text file.
pub fn load(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|cause| PkiError::File {
        operation: "read",
        path: path.to_owned(),
        cause,
    })
}

/// Writes a certificate or another public text: mode 0644.
pub fn save(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, 0o644)
}

/// Writes a secret: mode 0600.
pub fn save_secret(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, 0o600)
}

/// Writes `NAME.crt` and `NAME.key` into `folder`.
pub fn save_identity(folder: &Path, name: &str, identity: &Identity) -> Result<(), PkiError> {
    save_secret(&folder.join(format!("{name}.key")), &identity.key_pem)?;
    save(&folder.join(format!("{name}.crt")), &identity.cert_pem)
}

/// Reads `NAME.crt` and `NAME.key` of `folder`.
pub fn load_identity(folder: &Path, name: &str) -> Result<Identity, PkiError> {
    Ok(Identity {
        cert_pem: load(&folder.join(format!("{name}.crt")))?,
        key_pem: load(&folder.join(format!("{name}.key")))?,
    })
}

/// Reads the CA `NAME` of `folder`.
pub fn load_ca(folder: &Path, name: &str) -> Result<Ca, PkiError> {
    let identity = load_identity(folder, name)?;
    Ca::load(&identity.cert_pem, &identity.key_pem)
}

/// Writes the CA `NAME` into `folder`.
pub fn save_ca(folder: &Path, name: &str, ca: &Ca) -> Result<(), PkiError> {
    let identity = Identity {
        cert_pem: ca.cert_pem().to_owned(),
        key_pem: ca.key_pem().to_owned(),
    };
    save_identity(folder, name, &identity)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let failed = |cause: io::Error| PkiError::File {
        operation: "write",
        path: path.to_owned(),
        cause,
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = Path::new(&aside);
    // Left over from a crash, possibly with another mode.
    match fs::remove_file(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(aside)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(aside, path).map_err(failed)?;
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
    }
    Ok(())
}

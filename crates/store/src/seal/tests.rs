//! Seals open only where they were made.

use crate::seal::{KeyFile, SealError, Sealer};

fn sealed(sealer: &KeyFile, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal(aad, plain, &mut out).unwrap();
    out
}

fn opened(sealer: &KeyFile, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::new();
    sealer.open(aad, sealed, &mut out)?;
    Ok(out)
}

#[test]
fn opens_after_a_restart_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let first = KeyFile::create(&path).unwrap();
    let secret = sealed(&first, b"/a", b"secret");
    assert_ne!(secret, sealed(&first, b"/a", b"secret"));
    let second = KeyFile::load(&path).unwrap();
    assert_eq!(opened(&second, b"/a", &secret).unwrap(), b"secret");
    assert_eq!(opened(&second, b"/b", &secret), Err(SealError::Broken));
    for index in 0..secret.len() {
        let mut altered = secret.clone();
        altered[index] ^= 1;
        assert!(opened(&second, b"/a", &altered).is_err(), "byte {index}");
        assert!(opened(&second, b"/a", &secret[..index]).is_err());
    }
    assert!(
        KeyFile::create(&path)
            .unwrap_err()
            .to_string()
            .contains("create key file")
    );
}

/// A new first line seals; the old one still opens.
#[test]
fn rotation() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    let before = sealed(&KeyFile::create(&old).unwrap(), b"/a", b"1");
    KeyFile::create(&new).unwrap();
    let line = |path| {
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .to_owned()
    };
    let both = format!("transom store keys v1\n{}\n{}\n", line(&new), line(&old));
    std::fs::write(&old, both).unwrap();
    let rotated = KeyFile::load(&old).unwrap();
    assert_eq!(opened(&rotated, b"/a", &before).unwrap(), b"1");
    let after = sealed(&rotated, b"/a", b"2");
    assert_eq!(
        opened(&KeyFile::load(&new).unwrap(), b"/a", &after).unwrap(),
        b"2"
    );
    let unknown = opened(&KeyFile::load(&new).unwrap(), b"/a", &before);
    assert!(matches!(unknown, Err(SealError::UnknownKey { .. })));
}

//! Archives of our writer, of GNU tar and damaged ones, as lists of entries.

use std::io::Read;

use expect_test::{Expect, expect};

use super::writer::{pax_record, seal};
use super::{Kind, Reader, Writer};

fn list(archive: &[u8]) -> String {
    let mut reader = Reader::new(archive);
    let mut lines = Vec::new();
    loop {
        match reader.next() {
            Ok(None) => break,
            Err(error) => {
                lines.push(format!("error: {}", base::Chain(&error)));
                break;
            }
            Ok(Some(entry)) => {
                let mut data = Vec::new();
                if let Err(error) = reader.data().read_to_end(&mut data) {
                    lines.push(format!("error: {}", base::Chain(&error)));
                    break;
                }
                lines.push(format!(
                    "{:?} {} {:o} size {} stored {} pieces {:?}{}",
                    entry.kind,
                    String::from_utf8_lossy(&entry.path),
                    entry.mode,
                    entry.size,
                    data.len(),
                    entry.pieces,
                    if entry.xattrs.is_empty() {
                        ""
                    } else {
                        " xattrs"
                    },
                ));
            }
        }
    }
    lines.join("\n")
}

#[track_caller]
fn check(build: impl FnOnce(&mut Writer<Vec<u8>>), expect: Expect) {
    let mut writer = Writer::new(Vec::new());
    build(&mut writer);
    expect.assert_eq(&list(&writer.finish().unwrap()));
}

#[test]
fn entries_round_trip() {
    check(
        |tar| {
            tar.directory("etc/", 0o755).unwrap();
            tar.file("etc/passwd", 0o4644, b"root").unwrap();
            tar.entry(b'2', b"bin", b"usr/bin", 0o777, b"").unwrap();
        },
        expect![[r#"
            Directory etc/ 755 size 0 stored 0 pieces None
            File etc/passwd 4644 size 4 stored 4 pieces None
            Symlink bin 777 size 0 stored 0 pieces None"#]],
    );
}

#[test]
fn pax_and_gnu_extensions_apply() {
    check(
        |tar| {
            let mut records = pax_record("path", b"long/name");
            records.extend(pax_record("SCHILY.xattr.security.capability", b"\x01\x00"));
            tar.block(b'x', b"pax", b"", 0, &records).unwrap();
            tar.file("short", 0o755, b"x").unwrap();
            tar.block(b'L', b"././@LongLink", b"", 0, b"gnu/long\0")
                .unwrap();
            tar.file("short", 0o755, b"x").unwrap();
        },
        expect![[r#"
            File long/name 755 size 1 stored 1 pieces None xattrs
            File gnu/long 755 size 1 stored 1 pieces None"#]],
    );
}

#[test]
fn sparse_maps_of_all_kinds() {
    let sparse_1_0 = |map: &str| {
        let mut records = pax_record("GNU.sparse.major", b"1");
        records.extend(pax_record("GNU.sparse.minor", b"0"));
        records.extend(pax_record("GNU.sparse.name", b"holes"));
        records.extend(pax_record("GNU.sparse.realsize", b"9000"));
        let mut data = map.as_bytes().to_vec();
        data.resize(512, 0);
        data.extend(b"abc");
        (records, data)
    };
    for (map, expect) in [
        (
            "1\n4096\n3\n",
            expect!["File holes 644 size 9000 stored 3 pieces Some([(4096, 3)])"],
        ),
        (
            "1\n4096\n4\n",
            expect![[
                r#"error: refused archive entry "holes": its sparse map does not fit its data"#
            ]],
        ),
        (
            "99999999\n",
            expect!["error: number of pieces of a sparse file exceeds the limit of 65536"],
        ),
        (
            "x\n",
            expect!["error: damaged archive: malformed sparse map"],
        ),
    ] {
        check(
            |tar| {
                let (records, data) = sparse_1_0(map);
                tar.block(b'x', b"pax", b"", 0, &records).unwrap();
                tar.file("f", 0o644, &data).unwrap();
            },
            expect,
        );
    }
    check(
        |tar| {
            let mut records = pax_record("GNU.sparse.size", b"100");
            records.extend(pax_record("GNU.sparse.map", b"0,1,50,2"));
            tar.block(b'x', b"pax", b"", 0, &records).unwrap();
            tar.file("f", 0o644, b"abc").unwrap();
        },
        expect!["File f 644 size 100 stored 3 pieces Some([(0, 1), (50, 2)])"],
    );
}

#[test]
fn damaged_archives_are_errors() {
    let mut writer = Writer::new(Vec::new());
    writer.file("a", 0o644, &[7; 600]).unwrap();
    let whole = writer.finish().unwrap();
    expect!["error: damaged archive: it ends inside a header"].assert_eq(&list(&whole[..100]));
    expect!["error: unexpected end of file"].assert_eq(&list(&whole[..800]));
    let mut flipped = whole.clone();
    flipped[3] ^= 1;
    expect!["error: damaged archive: wrong checksum of a tar header"].assert_eq(&list(&flipped));

    let mut header: [u8; 512] = whole[..512].try_into().unwrap();
    header[156] = b'x';
    header[124..136].copy_from_slice(b"77777777777\0");
    seal(&mut header);
    expect!["error: extension header of the archive exceeds the limit of 1048576"]
        .assert_eq(&list(&header));
}

/// What nobody reads is skipped with its padding, which was more than 64 bits hold.
#[test]
fn sizes_at_the_end_of_64_bits_are_refused() {
    for size in ["18446744073709551615", "9223372036854775808"] {
        let mut writer = Writer::new(Vec::new());
        let records = pax_record("size", size.as_bytes());
        writer.block(b'x', b"pax", b"", 0, &records).unwrap();
        writer.entry(b'Z', b"a", b"", 0o644, b"").unwrap();
        let archive = writer.finish().unwrap();
        let mut reader = Reader::new(archive.as_slice());
        let error = loop {
            match reader.next() {
                Ok(entry) => assert!(entry.is_some(), "{size}: the archive ends"),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(error, format!("damaged archive: an entry of {size} bytes"));
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(0u8.., 512..4096), flag in 0u8..) {
        let _ = list(&bytes);
        // With a right checksum the fields themselves are reached.
        bytes[156] = flag;
        let mut header: [u8; 512] = bytes[..512].try_into().unwrap();
        seal(&mut header);
        bytes[..512].copy_from_slice(&header);
        let _ = list(&bytes);
    }

    #[test]
    fn files_round_trip(path in "[a-z]{1,150}(/[a-z]{1,90}){0,2}", data in proptest::collection::vec(0u8.., 0..2000)) {
        let mut writer = Writer::new(Vec::new());
        writer.file(&path, 0o640, &data).unwrap();
        let archive = writer.finish().unwrap();
        let mut reader = Reader::new(&archive[..]);
        let entry = reader.next().unwrap().unwrap();
        let mut read = Vec::new();
        reader.data().read_to_end(&mut read).unwrap();
        proptest::prop_assert_eq!(entry.kind, Kind::File);
        proptest::prop_assert_eq!(entry.path, path.into_bytes());
        proptest::prop_assert_eq!(read, data);
    }
}

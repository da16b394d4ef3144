//! Names in wire form.

use super::NAME_LIMIT;

/// A name in lower case, on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; NAME_LIMIT],
    length: u8,
}

impl Name {
    /// Reads the uncompressed name at `at`; gives it and where it ends. `None` when it is too
    /// long, ends early or is compressed.
    pub(crate) fn read(packet: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut name = Self {
            bytes: [0; NAME_LIMIT],
            length: 0,
        };
        let mut from = at;
        loop {
            let label = usize::from(*packet.get(from)?);
            if label > 63 {
                return None;
            }
            let next = from + 1 + label;
            let to = next - at;
            if to > NAME_LIMIT {
                return None;
            }
            let source = packet.get(from..next)?;
            for (target, byte) in name.bytes[from - at..to].iter_mut().zip(source) {
                *target = byte.to_ascii_lowercase();
            }
            from = next;
            if label == 0 {
                name.length = u8::try_from(to).ok()?;
                return Some((name, from));
            }
        }
    }

    /// A name from its wire form, which must be whole.
    pub(crate) fn from_wire(wire: &[u8]) -> Option<Self> {
        let (name, end) = Self::read(wire, 0)?;
        (end == wire.len()).then_some(name)
    }

    /// The wire form, its end included.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// What stands before `zone`, without an end: empty when the name is the zone itself; `None`
    /// when it lies elsewhere.
    pub(crate) fn below(&self, zone: &[u8]) -> Option<&[u8]> {
        let wire = self.wire();
        let start = wire.len().checked_sub(zone.len())?;
        if &wire[start..] != zone {
            return None;
        }
        // A label's content may look like labels: only a start of a label counts.
        let mut at = 0;
        while at < start {
            at += 1 + usize::from(wire[at]);
        }
        (at == start).then(|| &wire[..start])
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&readable(self.wire()))
    }
}

/// The labels of a name without its end, left to right, each with its length byte.
pub(crate) fn labels(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(*rest.first()?);
        let label = rest.get(..1 + length).filter(|_| length > 0)?;
        rest = &rest[1 + length..];
        Some(label)
    })
}

/// The wire form, in lower case, of a name as text; a final dot is optional. `None` when it is no
/// name: an empty label, one over 63 bytes, more than 255 in all.
pub(crate) fn wire(text: &str) -> Option<Box<[u8]>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() + 2);
    if !text.is_empty() {
        for label in text.split('.') {
            let length = u8::try_from(label.len())
                .ok()
                .filter(|n| (1..=63).contains(n))?;
            bytes.push(length);
            bytes.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
    }
    bytes.push(0);
    (bytes.len() <= NAME_LIMIT).then(|| bytes.into())
}

/// A name for people: `web.default.svc.`; unusual bytes as `\DDD`.
pub(crate) fn readable(wire: &[u8]) -> String {
    let mut text = String::with_capacity(wire.len());
    for label in labels(wire) {
        for &byte in &label[1..] {
            match byte {
                b'.' | b'\\' => {
                    text.push('\\');
                    text.push(char::from(byte));
                }
                b'!'..=b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("\\{byte:03}")),
            }
        }
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

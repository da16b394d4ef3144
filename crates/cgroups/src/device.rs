//! Rules of the version 1 device controller.

/// Kind of device that a rule speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Every device.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// One rule; rules are applied in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allowed or denied.
    pub allow: bool,
    /// Which kind.
    pub kind: DeviceKind,
    /// Major number, `None` for all.
    pub major: Option<u32>,
    /// Minor number, `None` for all.
    pub minor: Option<u32>,
    /// Any of `r`, `w`, `m`.
    pub access: String,
}

impl DeviceRule {
    /// The rule that denies everything, the usual first.
    #[must_use]
    pub fn deny_all() -> DeviceRule {
        let access = "rwm".into();
        DeviceRule {
            allow: false,
            kind: DeviceKind::All,
            major: None,
            minor: None,
            access,
        }
    }

    /// The rule that allows everything (privileged containers).
    #[must_use]
    pub fn allow_all() -> DeviceRule {
        DeviceRule {
            allow: true,
            ..DeviceRule::deny_all()
        }
    }

    /// Allows one character device, or all minors of a major, or creation of all.
    #[must_use]
    pub fn allow_char(major: Option<u32>, minor: Option<u32>, access: &str) -> DeviceRule {
        DeviceRule {
            allow: true,
            kind: DeviceKind::Char,
            major,
            minor,
            access: access.into(),
        }
    }

    /// The text for `devices.allow` or `devices.deny`.
    pub(crate) fn text(&self) -> String {
        let kind = match self.kind {
            DeviceKind::All => return "a".into(),
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_string(), |n| n.to_string());
        format!(
            "{kind} {}:{} {}",
            number(self.major),
            number(self.minor),
            self.access
        )
    }
}

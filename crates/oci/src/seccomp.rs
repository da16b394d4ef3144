//! Seccomp programs: a profile as data, the default one, and its translation to BPF.
//!
//! The default profile is what container runtimes call RuntimeDefault: system calls not named
//! fail with EPERM, some depend on capabilities. Numbers are those of this architecture; calls
//! of another ABI kill (32-bit) or fail with ENOSYS (x32).
//! Source: containerd 2.x contrib/seccomp/seccomp_default.go; seccomp(2).

mod bpf;
mod table;

pub use table::number;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is carried out.
    Allow,
    /// It fails with this error number.
    Errno(u16),
    /// It is carried out and logged.
    Log,
    /// It raises SIGSYS.
    Trap,
    /// It kills the thread.
    KillThread,
    /// It kills the process.
    KillProcess,
}

/// A test of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0..6.
    pub argument: u8,
    /// The comparison.
    pub test: Test,
}

/// Comparison of an argument as an unsigned 64-bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Equal.
    Equal(u64),
    /// Not equal.
    NotEqual(u64),
    /// Greater.
    Greater(u64),
    /// Greater or equal.
    GreaterEqual(u64),
    /// Less.
    Less(u64),
    /// Less or equal.
    LessEqual(u64),
    /// `argument & mask == value`.
    Masked {
        /// Mask.
        mask: u64,
        /// Value.
        value: u64,
    },
}

/// One rule: if the call has this number and all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// System call number.
    pub number: u32,
    /// All must hold; none = always.
    pub conditions: Vec<Condition>,
    /// What happens.
    pub action: Action,
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// For calls that no rule names.
    pub default: Action,
    /// Rules; the first that fits counts.
    pub rules: Vec<Rule>,
}

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;
/// `CLONE_NEW*`: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
const AF_VSOCK: u64 = 40;

impl Profile {
    /// RuntimeDefault for a process with these capabilities in its bounding set.
    #[must_use]
    pub fn runtime_default(bounding: u64) -> Profile {
        let has = |name| crate::capabilities::bit(name).is_some_and(|bit| bounding & bit != 0);
        let mut rules = Vec::new();
        let allow = |rules: &mut Vec<Rule>, numbers: &[(&str, u32)]| {
            rules.extend(
                numbers
                    .iter()
                    .map(|(_, number)| plain(*number, Action::Allow)),
            );
        };
        allow(&mut rules, table::ALWAYS);
        for (capability, numbers) in table::WITH_CAPABILITY {
            if has(capability) {
                allow(&mut rules, numbers);
            }
        }
        let mut when = |name: &str, conditions: Vec<Condition>, action| {
            if let Some(number) = number(name) {
                rules.push(Rule {
                    number,
                    conditions,
                    action,
                });
            }
        };
        let first = |test| vec![Condition { argument: 0, test }];
        for persona in [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
            when("personality", first(Test::Equal(persona)), Action::Allow);
        }
        when("socket", first(Test::NotEqual(AF_VSOCK)), Action::Allow);
        if !has("SYS_ADMIN") {
            let no_namespace = Test::Masked {
                mask: NAMESPACE_FLAGS,
                value: 0,
            };
            when("clone", first(no_namespace), Action::Allow);
            // Its flags are behind a pointer; libc falls back to clone.
            when("clone3", Vec::new(), Action::Errno(ENOSYS));
        }
        Profile {
            default: Action::Errno(EPERM),
            rules,
        }
    }

    /// The profile as `struct sock_filter[]` in memory order.
    pub fn compile(&self) -> Result<Vec<u8>, crate::Error> {
        bpf::compile(self)
    }
}

fn plain(number: u32, action: Action) -> Rule {
    Rule {
        number,
        conditions: Vec::new(),
        action,
    }
}

#[cfg(test)]
mod tests;

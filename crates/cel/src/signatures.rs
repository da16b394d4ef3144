//! What functions there are: a line each, arguments and result.
//!
//! `T.name(A, B) R` is a call on a target, `name(A) R` one without; lower case letters of one
//! sign stand for any type. Sources: the CEL specification (standard functions); cel-go v0.26 ext
//! (strings 2, lists 3, sets, optional types, two-variable comprehensions); kubernetes apiserver
//! v0.36.3 pkg/cel/library.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::types::Type;

const TABLE: &str = "
!_(bool) bool
-_(int) int
-_(double) double
_?_:_(bool, a, a) a
_&&_(bool, bool) bool
_||_(bool, bool) bool
_==_(a, a) bool
_!=_(a, a) bool
_[_](list<a>, int) a
_[_](map<a,b>, a) b
_[_](optional<list<a>>, int) optional<a>
_[_](optional<map<a,b>>, a) optional<b>
_[?_](list<a>, int) optional<a>
_[?_](map<a,b>, a) optional<b>
_[?_](optional<list<a>>, int) optional<a>
_[?_](optional<map<a,b>>, a) optional<b>
@in(a, list<a>) bool
@in(a, map<a,b>) bool
_+_(int, int) int
_+_(uint, uint) uint
_+_(double, double) double
_+_(string, string) string
_+_(bytes, bytes) bytes
_+_(list<a>, list<a>) list<a>
_+_(duration, duration) duration
_+_(duration, timestamp) timestamp
_+_(timestamp, duration) timestamp
_-_(int, int) int
_-_(uint, uint) uint
_-_(double, double) double
_-_(duration, duration) duration
_-_(timestamp, duration) timestamp
_-_(timestamp, timestamp) duration
_*_(int, int) int
_*_(uint, uint) uint
_*_(double, double) double
_/_(int, int) int
_/_(uint, uint) uint
_/_(double, double) double
_%_(int, int) int
_%_(uint, uint) uint
size(string) int
size(bytes) int
size(list<a>) int
size(map<a,b>) int
string.size() int
bytes.size() int
list<a>.size() int
map<a,b>.size() int
type(a) type
dyn(a) dyn
bool(bool) bool
bool(string) bool
bytes(bytes) bytes
bytes(string) bytes
double(double) double
double(int) double
double(string) double
double(uint) double
duration(duration) duration
duration(string) duration
duration(int) duration
int(int) int
int(double) int
int(string) int
int(uint) int
int(timestamp) int
int(duration) int
string(string) string
string(bool) string
string(bytes) string
string(double) string
string(int) string
string(uint) string
string(timestamp) string
string(duration) string
string(quantity) string
string(ip) string
string(cidr) string
string(semver) string
timestamp(timestamp) timestamp
timestamp(string) timestamp
timestamp(int) timestamp
uint(uint) uint
uint(int) uint
uint(double) uint
uint(string) uint
matches(string, string) bool
string.matches(string) bool
string.contains(string) bool
string.startsWith(string) bool
string.endsWith(string) bool
timestamp.getFullYear() int
timestamp.getFullYear(string) int
timestamp.getMonth() int
timestamp.getMonth(string) int
timestamp.getDayOfYear() int
timestamp.getDayOfYear(string) int
timestamp.getDayOfMonth() int
timestamp.getDayOfMonth(string) int
timestamp.getDate() int
timestamp.getDate(string) int
timestamp.getDayOfWeek() int
timestamp.getDayOfWeek(string) int
timestamp.getHours() int
timestamp.getHours(string) int
timestamp.getMinutes() int
timestamp.getMinutes(string) int
timestamp.getSeconds() int
timestamp.getSeconds(string) int
timestamp.getMilliseconds() int
timestamp.getMilliseconds(string) int
duration.getHours() int
duration.getMinutes() int
duration.getSeconds() int
duration.getMilliseconds() int
string.charAt(int) string
string.indexOf(string) int
string.indexOf(string, int) int
string.lastIndexOf(string) int
string.lastIndexOf(string, int) int
string.lowerAscii() string
string.upperAscii() string
string.replace(string, string) string
string.replace(string, string, int) string
string.split(string) list<string>
string.split(string, int) list<string>
string.substring(int) string
string.substring(int, int) string
string.trim() string
string.reverse() string
string.format(list<dyn>) string
strings.quote(string) string
list<string>.join() string
list<string>.join(string) string
string.find(string) string
string.findAll(string) list<string>
string.findAll(string, int) list<string>
list<a>.isSorted() bool
list<a>.sum() a
list<a>.min() a
list<a>.max() a
list<a>.indexOf(a) int
list<a>.lastIndexOf(a) int
list<a>.slice(int, int) list<a>
list<dyn>.flatten() list<dyn>
list<dyn>.flatten(int) list<dyn>
list<a>.sort() list<a>
list<a>.distinct() list<a>
list<a>.reverse() list<a>
list<a>.first() optional<a>
list<a>.last() optional<a>
lists.range(int) list<int>
sets.contains(list<a>, list<a>) bool
sets.equivalent(list<a>, list<a>) bool
sets.intersects(list<a>, list<a>) bool
optional.of(a) optional<a>
optional.ofNonZeroValue(a) optional<a>
optional.none() optional<dyn>
optional.unwrap(list<optional<a>>) list<a>
list<optional<a>>.unwrapOpt() list<a>
optional<a>.value() a
optional<a>.hasValue() bool
optional<a>.or(optional<a>) optional<a>
optional<a>.orValue(a) a
url(string) url
isURL(string) bool
url.getScheme() string
url.getHost() string
url.getHostname() string
url.getPort() string
url.getEscapedPath() string
url.getQuery() map<string,list<string>>
ip(string) ip
isIP(string) bool
ip.isCanonical(string) bool
ip.family() int
ip.isUnspecified() bool
ip.isLoopback() bool
ip.isLinkLocalMulticast() bool
ip.isLinkLocalUnicast() bool
ip.isGlobalUnicast() bool
cidr(string) cidr
isCIDR(string) bool
cidr.containsIP(ip) bool
cidr.containsIP(string) bool
cidr.containsCIDR(cidr) bool
cidr.containsCIDR(string) bool
cidr.ip() ip
cidr.masked() cidr
cidr.prefixLength() int
quantity(string) quantity
isQuantity(string) bool
quantity.sign() int
quantity.isInteger() bool
quantity.asInteger() int
quantity.asApproximateFloat() double
quantity.add(quantity) quantity
quantity.add(int) quantity
quantity.sub(quantity) quantity
quantity.sub(int) quantity
quantity.compareTo(quantity) int
quantity.isGreaterThan(quantity) bool
quantity.isLessThan(quantity) bool
semver(string) semver
semver(string, bool) semver
isSemver(string) bool
isSemver(string, bool) bool
semver.major() int
semver.minor() int
semver.patch() int
semver.compareTo(semver) int
semver.isGreaterThan(semver) bool
semver.isLessThan(semver) bool
format.named(string) optional<format>
format.dns1123Label() format
format.dns1123Subdomain() format
format.dns1035Label() format
format.qualifiedName() format
format.dns1123LabelPrefix() format
format.dns1123SubdomainPrefix() format
format.dns1035LabelPrefix() format
format.labelValue() format
format.uri() format
format.uuid() format
format.byte() format
format.date() format
format.datetime() format
format.validate(string) optional<list<string>>
jsonpatch.escapeKey(string) string
authorizer.path(string) pathcheck
authorizer.group(string) groupcheck
authorizer.serviceAccount(string, string) authorizer
groupcheck.resource(string) resourcecheck
resourcecheck.subresource(string) resourcecheck
resourcecheck.namespace(string) resourcecheck
resourcecheck.name(string) resourcecheck
resourcecheck.fieldSelector(string) resourcecheck
resourcecheck.labelSelector(string) resourcecheck
pathcheck.check(string) decision
resourcecheck.check(string) decision
decision.allowed() bool
decision.reason() string
decision.errored() bool
decision.error() string
";

/// Targets that are no values: `sets.contains(a, b)`.
const SPACES: [&str; 8] = [
    "optional",
    "sets",
    "lists",
    "strings",
    "format",
    "jsonpatch",
    "ip",
    "math",
];

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) target: Option<Type>,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
}

static FUNCTIONS: LazyLock<HashMap<String, Vec<Overload>>> = LazyLock::new(load);

/// All overloads of a name, with and without targets.
pub(crate) fn overloads(name: &str) -> &'static [Overload] {
    FUNCTIONS.get(name).map_or(&[], Vec::as_slice)
}

/// Whether `space.name` is a function.
pub(crate) fn is_space(space: &str, name: &str) -> bool {
    SPACES.contains(&space) && FUNCTIONS.contains_key(&format!("{space}.{name}"))
}

fn load() -> HashMap<String, Vec<Overload>> {
    let mut all: HashMap<String, Vec<Overload>> = HashMap::new();
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let Some((head, rest)) = line.split_once('(') else {
            continue;
        };
        let Some((args, result)) = rest.rsplit_once(") ") else {
            continue;
        };
        let args: Vec<Type> = split(args).iter().map(|arg| ty(arg)).collect();
        let result = ty(result);
        let dotted = head.rfind('.').filter(|_| !head.starts_with('_'));
        let (space, name) = match dotted {
            Some(at) => (Some(&head[..at]), &head[at + 1..]),
            None => (None, head),
        };
        let spaced = match space {
            Some("ip") => name == "isCanonical",
            Some("format") => name != "validate",
            Some(space) => SPACES.contains(&space),
            None => false,
        };
        let (key, target) = match space {
            Some(_) if spaced => (head.to_owned(), None),
            Some(space) => (name.to_owned(), Some(ty(space))),
            None => (name.to_owned(), None),
        };
        all.entry(key).or_default().push(Overload {
            target,
            args,
            result,
        });
    }
    let ordered = [
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "timestamp",
        "duration",
    ];
    for name in ["_<_", "_<=_", "_>_", "_>=_"] {
        let mut overloads = Vec::new();
        let mut add = |left: &str, right: &str| {
            overloads.push(Overload {
                target: None,
                args: vec![ty(left), ty(right)],
                result: Type::Bool,
            });
        };
        for one in ordered {
            add(one, one);
        }
        let numbers = ["int", "uint", "double"];
        for left in numbers {
            for right in numbers.iter().filter(|right| **right != left) {
                add(left, right);
            }
        }
        all.insert(name.to_owned(), overloads);
    }
    all
}

fn split(args: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in args.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(args[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !args[start..].trim().is_empty() {
        parts.push(args[start..].trim());
    }
    parts
}

fn ty(text: &str) -> Type {
    if let Some((outer, inner)) = text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        let inner: Vec<Type> = split(inner).iter().map(|one| ty(one)).collect();
        return match (outer, inner.as_slice()) {
            ("list", [item]) => Type::list(item.clone()),
            ("map", [key, value]) => Type::map(key.clone(), value.clone()),
            ("optional", [of]) => Type::optional(of.clone()),
            _ => Type::Dyn,
        };
    }
    match text {
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "type" => Type::Type,
        "url" => Type::Opaque("kubernetes.URL"),
        "ip" => Type::Opaque("net.IP"),
        "cidr" => Type::Opaque("net.CIDR"),
        "quantity" => Type::Opaque("kubernetes.Quantity"),
        "semver" => Type::Opaque("kubernetes.Semver"),
        "format" => Type::Opaque("kubernetes.NamedFormat"),
        "authorizer" => Type::Opaque(crate::AUTHORIZER),
        "pathcheck" => Type::Opaque("kubernetes.authorization.PathCheck"),
        "groupcheck" => Type::Opaque("kubernetes.authorization.GroupCheck"),
        "resourcecheck" => Type::Opaque(crate::RESOURCE_CHECK),
        "decision" => Type::Opaque("kubernetes.authorization.Decision"),
        letter if letter.len() == 1 => Type::Param(letter.chars().next().unwrap_or('a')),
        _ => Type::Dyn,
    }
}

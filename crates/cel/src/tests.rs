//! Expressions and what they yield, as tables.

use expect_test::{Expect, expect};
use schema::{Dom, Ref};

use super::{Bindings, Budget, Declared, Env, Program, Type, Value};

struct World<'a>(Ref<'a>);

impl<'a> Bindings<'a> for World<'a> {
    fn get(&self, name: &str) -> Option<Value<'a>> {
        match name {
            "object" | "request" => Some(Value::of(self.0, None)),
            _ => None,
        }
    }
}

const OBJECT: &str = r#"{"name":"web","replicas":3,"ready":true,"ratio":0.5,"labels":{"a":"b","c/d":"e"},
"ports":[{"name":"http","port":80},{"name":"https","port":443}],"nothing":null,"words":["b","a","c"]}"#;

fn env() -> Env {
    let request = Declared::of(
        "kubernetes.AdmissionRequest",
        vec![("name", Type::String), ("dryRun", Type::Bool)],
    );
    Env::new()
        .with("object", Type::Dyn)
        .with("request", request)
        .with_patches()
}

fn outcome(source: &str) -> String {
    let dom = Dom::parse_json(OBJECT.as_bytes()).unwrap();
    let program = match Program::compile(source, &env()) {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    let world = World(dom.as_ref());
    let text = match program.run(&world, &Budget::new(100_000)) {
        Ok(value) => {
            let mut out = Dom::new();
            match value.write(&mut out) {
                Ok(node) => String::from_utf8(out.to_json(node)).unwrap(),
                Err(_) => super::functions::shown(&value),
            }
        }
        Err(error) => format!("error: {error}"),
    };
    format!("{text} : {}", program.ty())
}

#[track_caller]
fn check(sources: &[&str], expected: &Expect) {
    let lines: Vec<String> = sources
        .iter()
        .map(|source| format!("{source} → {}", outcome(source)))
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn arithmetic_and_logic() {
    check(
        &[
            "1 + 2 * 3 - 4 / 2 % 3",
            "-object.replicas",
            "9223372036854775807 + 1",
            "1 / 0",
            "1u + 2u == 3",
            "1.5 < 2 && 2 >= 1.5",
            "object.missing == 1 || true",
            "object.missing == 1 && true",
            "object.ready ? 'yes' : 'no'",
            "'a' + object.name",
            "[1, 2] + [3] == [1, 2, 3]",
            "{'a': 1}.a",
            "!object.ready",
            "0x1F",
            "b'\\x01é'",
            "r'\\d' + '\\u00e9'",
        ],
        &expect![[r#"
            1 + 2 * 3 - 4 / 2 % 3 → 5 : int
            -object.replicas → -3 : dyn
            9223372036854775807 + 1 → error: integer overflow : int
            1 / 0 → error: division by zero : int
            1u + 2u == 3 → ERROR: <input>:1:9: found no matching overload for '_==_' applied to '(uint, int)'
             | 1u + 2u == 3
             | ........^
            1.5 < 2 && 2 >= 1.5 → true : bool
            object.missing == 1 || true → true : bool
            object.missing == 1 && true → error: no such key: missing : bool
            object.ready ? 'yes' : 'no' → "yes" : string
            'a' + object.name → "aweb" : string
            [1, 2] + [3] == [1, 2, 3] → true : bool
            {'a': 1}.a → 1 : int
            !object.ready → false : bool
            0x1F → 31 : int
            b'\x01é' → "AcOp" : bytes
            r'\d' + '\u00e9' → "\\dé" : string"#]],
    );
}

#[test]
fn fields_and_macros() {
    check(
        &[
            "has(object.labels.a) && !has(object.labels.b)",
            "object.labels['c/d']",
            "object.nothing == null",
            "object.ports.all(p, p.port > 79)",
            "object.ports.exists(p, p.name == 'http')",
            "object.ports.exists_one(p, p.port > 0)",
            "object.ports.map(p, p.port)",
            "object.ports.map(p, p.port > 100, p.name)",
            "object.ports.filter(p, p.port > 100).size()",
            "object.ports.all(i, p, i < 2)",
            "object.ports.transformList(i, p, p.name + string(i))",
            "object.labels.transformMap(k, v, v + k)",
            "object.labels.exists(k, k == 'a')",
            "object.?labels.?x.orValue('none')",
            "object.?labels.?a.optMap(v, v + '!').value()",
            "object.labels[?'a'].hasValue()",
            "optional.none().orValue(1)",
            "'a' in object.labels && 80 in [80]",
            "object.ports[5]",
            "type(object.name) == string",
            "size(object.words)",
        ],
        &expect![[r#"
            has(object.labels.a) && !has(object.labels.b) → true : bool
            object.labels['c/d'] → "e" : dyn
            object.nothing == null → true : bool
            object.ports.all(p, p.port > 79) → true : bool
            object.ports.exists(p, p.name == 'http') → true : bool
            object.ports.exists_one(p, p.port > 0) → false : bool
            object.ports.map(p, p.port) → [80,443] : list(dyn)
            object.ports.map(p, p.port > 100, p.name) → ["https"] : list(dyn)
            object.ports.filter(p, p.port > 100).size() → 1 : int
            object.ports.all(i, p, i < 2) → true : bool
            object.ports.transformList(i, p, p.name + string(i)) → ["http0","https1"] : list(string)
            object.labels.transformMap(k, v, v + k) → {"a":"ba","c/d":"ec/d"} : map(dyn, dyn)
            object.labels.exists(k, k == 'a') → true : bool
            object.?labels.?x.orValue('none') → "none" : dyn
            object.?labels.?a.optMap(v, v + '!').value() → "b!" : string
            object.labels[?'a'].hasValue() → true : bool
            optional.none().orValue(1) → 1 : dyn
            'a' in object.labels && 80 in [80] → true : bool
            object.ports[5] → error: index out of bounds: 5 : dyn
            type(object.name) == string → true : bool
            size(object.words) → 3 : int"#]],
    );
}

#[test]
fn libraries() {
    check(
        &[
            "'Hello'.lowerAscii().replace('l', 'L').substring(1, 4)",
            "'a,b,c'.split(',').join('-')",
            "'%s has %d of %.2f'.format([object.name, 3, 0.5])",
            "'  x '.trim().size()",
            "'tacocat'.indexOf('o') + 'tacocat'.lastIndexOf('t')",
            "'abc 123'.find('[0-9]+')",
            "'a1b2'.findAll('[0-9]')",
            "'web'.matches('^w')",
            "object.words.isSorted()",
            "[3, 1, 2].sum() + [3, 1, 2].max() - [3, 1, 2].min()",
            "object.words.indexOf('a')",
            "sets.contains([1, 2], [2]) && sets.intersects([1], [1, 3]) && !sets.equivalent([1], [2])",
            "quantity('1Gi').isGreaterThan(quantity('1000M'))",
            "quantity('1.5').add(1).asApproximateFloat()",
            "isQuantity('3x')",
            "ip('192.168.0.1').family() + ip('::1').family()",
            "cidr('10.0.0.0/8').containsIP('10.1.2.3')",
            "cidr('10.1.2.3/8').masked()",
            "ip.isCanonical('2001:db8::0')",
            "url('https://example.com:80/a?b=c').getHost()",
            "isURL('nothing')",
            "url('/x?b=c&b=d').getQuery()['b'].size()",
            "semver('1.2.3').isLessThan(semver('1.10.0-beta'))",
            "isSemver('v1.0', true)",
            "format.dns1123Label().validate('Not').hasValue()",
            "format.named('uuid').hasValue()",
            "duration('1h30m') > duration('90s')",
            "timestamp('2024-01-02T03:04:05Z').getFullYear()",
            "timestamp('2024-01-02T03:04:05Z') + duration('1s')",
            "timestamp('2024-01-02T03:04:05Z').getHours('America/New_York')",
            "string(duration('90s'))",
            "jsonpatch.escapeKey('a/b~c')",
            "Object{metadata: Object.metadata{annotations: {'a': 'b'}}}",
            "[JSONPatch{op: 'add', path: '/a', value: 1}]",
        ],
        &expect![[r#"
            'Hello'.lowerAscii().replace('l', 'L').substring(1, 4) → "eLL" : string
            'a,b,c'.split(',').join('-') → "a-b-c" : string
            '%s has %d of %.2f'.format([object.name, 3, 0.5]) → "web has 3 of 0.50" : string
            '  x '.trim().size() → 1 : int
            'tacocat'.indexOf('o') + 'tacocat'.lastIndexOf('t') → 9 : int
            'abc 123'.find('[0-9]+') → "123" : string
            'a1b2'.findAll('[0-9]') → ["1","2"] : list(string)
            'web'.matches('^w') → true : bool
            object.words.isSorted() → false : bool
            [3, 1, 2].sum() + [3, 1, 2].max() - [3, 1, 2].min() → 8 : int
            object.words.indexOf('a') → 1 : int
            sets.contains([1, 2], [2]) && sets.intersects([1], [1, 3]) && !sets.equivalent([1], [2]) → true : bool
            quantity('1Gi').isGreaterThan(quantity('1000M')) → true : bool
            quantity('1.5').add(1).asApproximateFloat() → 2.5 : double
            isQuantity('3x') → false : bool
            ip('192.168.0.1').family() + ip('::1').family() → 10 : int
            cidr('10.0.0.0/8').containsIP('10.1.2.3') → true : bool
            cidr('10.1.2.3/8').masked() → 10.0.0.0/8 : net.CIDR
            ip.isCanonical('2001:db8::0') → false : bool
            url('https://example.com:80/a?b=c').getHost() → "example.com:80" : string
            isURL('nothing') → false : bool
            url('/x?b=c&b=d').getQuery()['b'].size() → 2 : int
            semver('1.2.3').isLessThan(semver('1.10.0-beta')) → true : bool
            isSemver('v1.0', true) → true : bool
            format.dns1123Label().validate('Not').hasValue() → true : bool
            format.named('uuid').hasValue() → true : bool
            duration('1h30m') > duration('90s') → true : bool
            timestamp('2024-01-02T03:04:05Z').getFullYear() → 2024 : int
            timestamp('2024-01-02T03:04:05Z') + duration('1s') → "2024-01-02T03:04:06Z" : google.protobuf.Timestamp
            timestamp('2024-01-02T03:04:05Z').getHours('America/New_York') → 22 : int
            string(duration('90s')) → "90s" : string
            jsonpatch.escapeKey('a/b~c') → "a~1b~0c" : string
            Object{metadata: Object.metadata{annotations: {'a': 'b'}}} → {"metadata":{"annotations":{"a":"b"}}} : Object
            [JSONPatch{op: 'add', path: '/a', value: 1}] → [{"op":"add","path":"/a","value":1}] : list(JSONPatch)"#]],
    );
}

#[test]
fn mistakes() {
    check(
        &[
            "",
            "1 +",
            "object.x)",
            "unknown == 1",
            "request.nothing == 1",
            "request.name > 1",
            "'a' + 1",
            "foo(1)",
            "'a'.size(1)",
            "[1, 'a']",
            "1.all(x, true)",
            "request.dryRun.x",
            "for",
            "'abc",
            "has(1)",
            "object.a.b.c == 1",
            "object.name + 1",
            "object.words.map(x, object.words.map(y, object.words.map(z, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('(a|b)*')))).size()",
        ],
        &expect![[r#"
             → ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
             | 
             | ^
            1 + → ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
             | 1 +
             | ...^
            object.x) → ERROR: <input>:1:9: Syntax error: mismatched input ')' expecting <EOF>
             | object.x)
             | ........^
            unknown == 1 → ERROR: <input>:1:1: undeclared reference to 'unknown' (in container '')
             | unknown == 1
             | ^
            request.nothing == 1 → ERROR: <input>:1:8: undefined field 'nothing'
             | request.nothing == 1
             | .......^
            request.name > 1 → ERROR: <input>:1:14: found no matching overload for '_>_' applied to '(string, int)'
             | request.name > 1
             | .............^
            'a' + 1 → ERROR: <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'
             | 'a' + 1
             | ....^
            foo(1) → ERROR: <input>:1:4: undeclared reference to 'foo' (in container '')
             | foo(1)
             | ...^
            'a'.size(1) → ERROR: <input>:1:9: found no matching overload for 'size' applied to 'string.(int)'
             | 'a'.size(1)
             | ........^
            [1, 'a'] → ERROR: <input>:1:5: expected type 'int' but found 'string'
             | [1, 'a']
             | ....^
            1.all(x, true) → ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)
             | 1.all(x, true)
             | ^
            request.dryRun.x → ERROR: <input>:1:15: type 'bool' does not support field selection
             | request.dryRun.x
             | ..............^
            for → ERROR: <input>:1:1: reserved identifier: for
             | for
             | ^
            'abc → ERROR: <input>:1:1: Syntax error: token recognition error at: '''
             | 'abc
             | ^
            has(1) → ERROR: <input>:1:5: invalid argument to has() macro
             | has(1)
             | ....^
            object.a.b.c == 1 → error: no such key: a : bool
            object.name + 1 → error: no such overload : int
            object.words.map(x, object.words.map(y, object.words.map(z, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('(a|b)*')))).size() → 3 : int"#]],
    );
}

/// Nothing that a client sends may take the server down.
#[test]
fn deep_expressions_are_refused() {
    for source in [
        "(".repeat(5000),
        "[".repeat(5000),
        "-".repeat(50_000) + "1",
        "!".repeat(50_000) + "true",
        "1".to_owned() + &"+1".repeat(20_000),
        "true".to_owned() + &"&&true".repeat(10_000),
        "a".to_owned() + &".a".repeat(10_000),
        "a".to_owned() + &"[0]".repeat(10_000),
        "true?".repeat(5000),
    ] {
        let result = Program::compile(&source, &env());
        assert!(result.is_err() || source.contains("&&") || source.starts_with(['-', '!']));
    }
}

#[test]
fn long_work_runs_out() {
    let dom = Dom::parse_json(OBJECT.as_bytes()).unwrap();
    let ten = "[1,2,3,4,5,6,7,8,9,10]";
    let source = format!(
        "{ten}.all(a, {ten}.all(b, {ten}.all(c, {ten}.all(d, {ten}.all(e, {ten}.all(f, a + b + c + d + e + f > 0))))))"
    );
    let program = Program::compile(&source, &env()).unwrap();
    let error = program
        .run(&World(dom.as_ref()), &Budget::new(100_000))
        .unwrap_err();
    assert!(error.is_exhausted());
}

/// More than twenty, in no order: only then does the standard library's sort notice, and panics.
#[test]
fn lists_without_an_order_are_not_sorted() {
    let sort = |item: &dyn Fn(u64) -> String| {
        let mut rng = 7_u64;
        let items = (0..40).map(|_| {
            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            item(rng >> 33)
        });
        let items: Vec<String> = items.collect();
        outcome(&format!("[{}].sort()", items.join(",")))
    };
    let mixed = sort(&|n| match n % 2 {
        0 => format!("dyn({})", n % 100),
        _ => format!("dyn(\"{}\")", n % 100),
    });
    let circular = sort(&|n| match n % 3 {
        0 => "dyn(9007199254740993)".to_owned(),
        1 => "dyn(9007199254740992)".to_owned(),
        _ => "dyn(9007199254740992.0)".to_owned(),
    });
    let no_number = sort(&|n| match n % 4 {
        0 => "0.0 / 0.0".to_owned(),
        _ => format!("{}.5", n % 100),
    });
    let lists = sort(&|n| format!("[{n}]"));
    expect![[r#"
        error: list elements must have the same type : list(dyn)
        error: list elements must have the same type : list(dyn)
        [2.5,3.5,9.5,14.5,17.5,17.5,18.5,19.5,25.5,26.5,29.5,34.5,34.5,37.5,38.5,43.5,45.5,49.5,50.5,51.5,57.5,59.5,63.5,69.5,70.5,77.5,82.5,87.5,87.5,89.5,91.5,93.5,99.5,null,null,null,null,null,null,null] : list(double)
        error: list elements must be comparable : list(list(int))"#]].assert_eq(&[mixed, circular, no_number, lists].join("\n"));
}

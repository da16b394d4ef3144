//! YAML both ways, and limits.

use expect_test::{Expect, expect};
use proptest::prelude::{prop_assert, proptest};

use super::{documents, parse, to_yaml};
use crate::dom::{Dom, Limits};

#[track_caller]
fn check(source: &str, want: Expect) {
    let shown = match parse(source.as_bytes(), &Limits::DEFAULT) {
        Ok(parsed) => {
            let json = String::from_utf8(parsed.dom.to_json(parsed.dom.root())).unwrap();
            [vec![json], parsed.duplicates].concat().join("\n")
        }
        Err(error) => error.to_string(),
    };
    want.assert_eq(&shown);
}

#[track_caller]
fn check_out(json: &str, want: Expect) {
    let dom = Dom::parse_json(json.as_bytes()).unwrap();
    let text = to_yaml(&dom, dom.root());
    want.assert_eq(&text);
    let again = parse(text.as_bytes(), &Limits::DEFAULT).unwrap().dom;
    assert!(again.equal(again.root(), &dom, dom.root()), "{again:?}");
}

#[test]
fn scalars() {
    check(
        "[y, Yes, on, n, off, True, ~, null, '', \"no\", 'y']",
        expect![[r#"[true,true,true,false,false,true,null,null,"","no","y"]"#]],
    );
    check(
        "[1, -1, +1, 0x1F, 0o17, 017, 0b11, 08, 1_000, 1.5, .5, 1e3, 1.0, -0]",
        expect!["[1,-1,1,31,15,15,3,8,1000,1.5,0.5,1000,1,0]"],
    );
    check(
        "[9223372036854775807, 9223372036854775808, 1e400, 1:20, 1.2.3, 2001-01-01, 0x]",
        expect![[
            r#"[9223372036854775807,9223372036854776000,"1e400","1:20","1.2.3","2001-01-01","0x"]"#
        ]],
    );
    check(
        "[!!str 1, !!int '5', !!float 3, !!binary aGk=, ! 7, !foo 8]",
        expect![[r#"["1",5,3,"hi","7","8"]"#]],
    );
    check("a: .nan", expect!["json: unsupported value: NaN"]);
    check(
        "a: !!int x",
        expect!["yaml: cannot decode !!str `x` as a !!int"],
    );
    check("", expect!["null"]);
    check(
        "a:\n  b: |\n    x\n    y\n  c: >-\n    x\n    y\n",
        expect![[r#"{"a":{"b":"x\ny\n","c":"x y"}}"#]],
    );
}

#[test]
fn keys() {
    check(
        "1: a\ntrue: b\n1.5: c\ny: d\n2001-01-01: e\n",
        expect![[r#"
        {"1":"a","true":"d","1.5":"c","2001-01-01":"e"}
        line 4: key "true" already set in map"#]],
    );
    check(
        "~: a",
        expect!["unsupported map key of type: %!s(<nil>), key: <nil>"],
    );
    check("[a]: b", expect!["unsupported map key of type: slice"]);
    check("? {a: b}\n: c", expect!["unsupported map key of type: map"]);
    check(
        "a: 1\nb: 2\na: 3\n",
        expect![[r#"
        {"a":3,"b":2}
        line 3: key "a" already set in map"#]],
    );
}

#[test]
fn anchors_and_merges() {
    check(
        "a: &x {b: 1, c: 2}\nd: *x\ne:\n  <<: *x\n  c: 3\n",
        expect![[r#"
            {"a":{"b":1,"c":2},"d":{"b":1,"c":2},"e":{"b":1,"c":3}}
            line 5: key "c" already set in map"#]],
    );
    check(
        "a: &x [1]\nb: [*x, *x]",
        expect![[r#"{"a":[1],"b":[[1],[1]]}"#]],
    );
    check(
        "<<: [{a: 1, b: 1}, {b: 2, c: 2}]\n",
        expect![[r#"{"b":1,"c":2,"a":1}"#]],
    );
    check(
        "<<: 3",
        expect!["yaml: map merge requires map or sequence of maps as the value"],
    );
    check("a: &x [*x]", expect!["yaml: anchor value contains itself"]);
    check("a: *x", expect!["yaml: unknown anchor 'x' referenced"]);
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 9].join(",");
        bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    check(&bomb, expect!["yaml: document contains excessive aliasing"]);
}

#[test]
fn limits_and_errors() {
    check(&"[".repeat(600), expect!["yaml: recursion limit exceeded"]);
    check(
        &"- ".repeat(600),
        expect!["yaml: exceeded max depth of 512"],
    );
    check(
        "a: b: c",
        expect!["yaml: mapping values are not allowed in this context"],
    );
    check("a: [1", expect!["yaml: did not find expected ',' or ']'"]);
    check("\ta: 1", expect![[r#"{"a":1}"#]]);
    check("a: 1\n---\n][", expect![[r#"{"a":1}"#]]);
}

#[test]
fn texts_of_syntax_errors() {
    check(
        "a: 1\nb: c: d\n",
        expect!["yaml: line 2: mapping values are not allowed in this context"],
    );
    check(
        "a: 1\nb: 2\nc: [1\n",
        expect!["yaml: line 3: did not find expected ',' or ']'"],
    );
    check("a: 1\n\tb: 2\n", expect!["yaml: found a tab"]);
    check(
        "a: 1\nb: *x\n",
        expect!["yaml: unknown anchor 'x' referenced"],
    );
    check(
        "a: 1\n\n\nb: \"x\n",
        expect!["yaml: line 4: found unexpected end of stream"],
    );
    check(
        "a: [\n",
        expect!["yaml: did not find expected node content"],
    );
}

#[test]
fn streams() {
    let stream = "# head\n---\na: 1\n--- # next\nb: 2\n---\n\n---\nc: |\n  ---x\n";
    let all: Vec<_> = documents(stream).collect();
    assert_eq!(all, ["a: 1", "b: 2", "c: |\n  ---x\n"]);
}

#[test]
fn output() {
    check_out(
        r#"{"b":{"x":[1,{"y":"a","z":[]},[2,[3]],null]},"a10":{},"a9":true,"B":1.5,"_":1e30}"#,
        expect![[r#"
            _: 1e+30
            B: 1.5
            a9: true
            a10: {}
            b:
              x:
              - 1
              - "y": a
                z: []
              - - 2
                - - 3
              - null
        "#]],
    );
    check_out(
        r##"{"s":["","y","1","1:20","a: b","a #b","#x","- x","it's"," x","a\tb","é","\u0007","x:","@a","2001-01-01","~"]}"##,
        expect![[r#"
            s:
            - ""
            - "y"
            - "1"
            - "1:20"
            - 'a: b'
            - 'a #b'
            - '#x'
            - '- x'
            - it's
            - ' x'
            - 'a	b'
            - é
            - "\a"
            - 'x:'
            - '@a'
            - "2001-01-01"
            - "~"
        "#]],
    );
    check_out(
        r#"{"t":["a\nb","a\nb\n","a\n\n","\na"," a\nb","a \nb","\n"],"u":"x\r\ny"}"#,
        expect![[r#"
            t:
            - |-
              a
              b
            - |
              a
              b
            - |+
              a

            - |2-

              a
            - |2-
               a
              b
            - "a \nb"
            - |2+

            u: "x\r\ny"
        "#]],
    );
    check_out(
        r#""x""#,
        expect![[r#"
        x
    "#]],
    );
    check_out(
        "[]",
        expect![[r#"
        []
    "#]],
    );
}

/// As `sigs.k8s.io/yaml` v1.6.0 writes them.
#[test]
fn keys_that_are_no_simple_ones() {
    let long = "k".repeat(129);
    let simple = "k".repeat(128);
    let json = format!(
        r#"{{"{long}":{{"a":1,"b":{{"c":2}}}},"{simple}":0,"l":[{{"{long}":[1,{{"d":3}}]}}],"n":{{"{long}":[]}},"x\ny":1}}"#
    );
    check_out(
        &json,
        expect![[r#"
        kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk: 0
        ? kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
        : a: 1
          b:
            c: 2
        l:
        - ? kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
          : - 1
            - d: 3
        "n":
          ? kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
          : []
        ? |-
          x
          y
        : 1
    "#]],
    );
}

proptest! {
    #[test]
    fn any_text_is_safe(text in "[-a:\\[\\]{}&*!|>'\"%@?<,# \\n\\t01~.xé]{0,60}") {
        let limits = Limits { nodes: 1000, ..Limits::DEFAULT };
        if let Ok(parsed) = parse(text.as_bytes(), &limits) {
            let text = to_yaml(&parsed.dom, parsed.dom.root());
            let again = parse(text.as_bytes(), &Limits::DEFAULT);
            prop_assert!(again.is_ok_and(|again| again.dom.equal(again.dom.root(), &parsed.dom, parsed.dom.root())), "{}", text);
        }
    }

    #[test]
    fn any_string_survives(text in "\\PC{0,12}|[ -~\\n\\t\\r\\x00\u{85}\u{2028}\u{feff}]{0,12}", key in "[ -~é\\n]{0,6}|[a\x01é]{120,300}") {
        let mut dom = Dom::new();
        let map = dom.new_map();
        dom.set_str(map, &key, &text);
        dom.set_root(map);
        let yaml = to_yaml(&dom, map);
        let again = parse(yaml.as_bytes(), &Limits::DEFAULT);
        prop_assert!(again.as_ref().is_ok_and(|again| again.dom.equal(again.dom.root(), &dom, map)), "{} {:?}", yaml, again);
    }
}

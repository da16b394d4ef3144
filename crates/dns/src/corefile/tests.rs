//! Corefiles that people have.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::manifests::default_corefile;
use crate::message::readable;

fn list(zones: &[Box<[u8]>]) -> String {
    let names: Vec<String> = zones.iter().map(|zone| readable(zone)).collect();
    names.join(" ")
}

fn describe(text: &str) -> String {
    let corefile = match Corefile::parse(text) {
        Ok(corefile) => corefile,
        Err(error) => return error.to_string(),
    };
    let mut lines = Vec::new();
    for block in &corefile.blocks {
        lines.push(format!(
            "{}{}{}",
            list(&block.zones),
            if block.detect_loop { " loop" } else { "" },
            if block.log { " log" } else { "" }
        ));
        if let Some(rules) = &block.kubernetes {
            lines.push(format!(
                "  kubernetes {} reverse {} fallthrough {} pods {:?} ttl {} ignore {} namespaces {}",
                list(&rules.zones), list(&rules.reverse), list(&rules.fall_through), rules.pods, rules.ttl, rules.ignore_empty, list(&rules.namespaces)
            ));
        }
        for one in &block.forwards {
            lines.push(format!(
                "  forward {} to {:?} except {} {:?} concurrent {} fails {} tcp {}",
                readable(&one.from),
                one.to,
                list(&one.except),
                one.policy,
                one.max_concurrent,
                one.max_fails,
                one.force_tcp
            ));
        }
        if let Some(one) = &block.cache {
            lines.push(format!(
                "  cache {} {} ({} {}) not {} / {}",
                one.success,
                one.denial,
                one.success_capacity,
                one.denial_capacity,
                list(&one.no_success),
                list(&one.no_denial)
            ));
        }
    }
    lines.extend(corefile.findings.iter().map(ToString::to_string));
    lines.join("\n")
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&describe(text));
}

#[test]
fn that_of_a_new_cluster() {
    check(
        &default_corefile("cluster.local"),
        expect![[r#"
        . loop
          kubernetes cluster.local. reverse in-addr.arpa. ip6.arpa. fallthrough in-addr.arpa. ip6.arpa. pods Insecure ttl 30 ignore false namespaces 
          forward . to [File("/etc/resolv.conf")] except  Random concurrent 1000 fails 2 tcp false
          cache 30 30 (9984 9984) not cluster.local. / cluster.local."#]],
    );
}

/// As the e2e suite writes it (kubernetes v1.36 test/e2e/network/dns_configmap.go).
#[test]
fn stub_domains() {
    check(
        ".:53 {
            health
            ready
            kubernetes cluster.local in-addr.arpa ip6.arpa {
                pods insecure
                fallthrough in-addr.arpa ip6.arpa
                ttl 30
            }
            prometheus :9153
            forward . 10.1.2.3
            cache 30
            loop
            reload
            loadbalance
        }
        acme.local:53, acme.test {
            forward . 10.1.2.3:5353 [fd00::1]:53 dns://10.0.0.1 {
              policy sequential
              except x.acme.local
              max_fails 0
              force_tcp
            }
            cache {
              success 100 60
              denial 50 10
            }
            log
        }",
        expect![[r#"
            . loop
              kubernetes cluster.local. reverse in-addr.arpa. ip6.arpa. fallthrough in-addr.arpa. ip6.arpa. pods Insecure ttl 30 ignore false namespaces 
              forward . to [Address(10.1.2.3:53)] except  Random concurrent 1000 fails 2 tcp false
              cache 30 30 (9984 9984) not  / 
            acme.local. acme.test. log
              forward . to [Address(10.1.2.3:5353), Address([fd00::1]:53), Address(10.0.0.1:53)] except x.acme.local. Sequential concurrent 1000 fails 0 tcp true
              cache 60 10 (100 50) not  / "#]],
    );
}

#[test]
fn what_is_not_done_is_said() {
    check(
        "(snippet) {
            errors
        }
        .:5353 tls://x.example {
            import snippet
            hosts {
                10.0.0.1 a.example
                fallthrough
            }
            rewrite name a.example b.example
            kubernetes cluster.local {
                pods verified
                endpoint https://x
                ignore empty_service
                namespaces a b
            }
            forward . tls://9.9.9.9 {
                tls_servername x
            }
            cache 30 example.org {
                prefetch 10
            }
            template IN A example {
                answer \"{{ .Name }} 60 IN A 10.0.0.1\"
            }
        }",
        expect![[r#"
            . x.example.
              kubernetes cluster.local. reverse  fallthrough  pods Insecure ttl 5 ignore true namespaces a. b.
              forward . to [] except  Random concurrent 1000 fails 2 tcp false
              cache 30 30 (9984 9984) not  / 
            line 1: snippets and imports are not supported
            line 4: port 5353 of .:5353: only 53 is served
            line 4: tls:// is not served; the block tls://x.example is
            line 5: import is not supported and has no effect
            line 6: hosts is not supported and has no effect
            line 10: rewrite is not supported and has no effect
            line 12: pods verified is not supported: insecure is done
            line 13: kubernetes: endpoint https://x is not supported
            line 17: forward: tls://9.9.9.9: only plain DNS is supported
            line 18: forward: tls_servername x is not supported
            line 20: cache: it always holds for the whole server block
            line 21: cache: prefetch 10 is not supported
            line 23: template is not supported and has no effect"#]],
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    let texts = [
        "",
        ". {",
        ". { errors }",
        "}",
        ".",
        ". {\n forward .\n}",
        ". {\n forward . nohost\n}",
        ". {\n kubernetes cluster..local\n}",
        ". {\n kubernetes in-addr.arpa\n}",
        ". {\n kubernetes cluster.local {\n ttl 4000\n }\n}",
        ". {\n errors \"x\n}",
        "{\n}",
        ". {\n a {\n b {\n c {\n d {\n e {\n",
    ];
    let lines: Vec<String> = texts
        .iter()
        .map(|text| format!("{text:?}: {}", describe(text)))
        .collect();
    expect![[r#"
        "": read the Corefile: line 1: there is no server block
        ". {": read the Corefile: line 1: { without }
        ". { errors }": .
        "}": read the Corefile: line 1: } without {
        ".": read the Corefile: line 1: a server block without {: .
        ". {\n forward .\n}": read the Corefile: line 2: forward needs a name and at least one server
        ". {\n forward . nohost\n}": read the Corefile: line 2: not an IP address or file: "nohost"
        ". {\n kubernetes cluster..local\n}": read the Corefile: line 2: cluster..local is no name
        ". {\n kubernetes in-addr.arpa\n}": read the Corefile: line 2: kubernetes without a domain
        ". {\n kubernetes cluster.local {\n ttl 4000\n }\n}": read the Corefile: line 3: ttl must be in range [0, 3600]: 4000
        ". {\n errors \"x\n}": read the Corefile: line 2: a quotation without end
        "{\n}": read the Corefile: line 1: { without anything before it
        ". {\n a {\n b {\n c {\n d {\n e {\n": read the Corefile: line 5: too many { within one another"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn ranges_are_reverse_zones() {
    check(
        "10.0.0.0/8 fd00::/16 10.1.0.0/12 {\n forward . 10.0.0.53\n}",
        expect![[r#"
            10.in-addr.arpa. 0.0.d.f.ip6.arpa.
              forward . to [Address(10.0.0.53:53)] except  Random concurrent 1000 fails 2 tcp false
            line 1: 10.1.0.0/12 does not end at a label"#]],
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|[ \n{}\"#.]|kubernetes|forward|cache){0,60}") {
        let _ = Corefile::parse(&text);
    }
}

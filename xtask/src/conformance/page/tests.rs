use expect_test::expect;

use super::super::ledger::tests::{SPECS, ledger};
use super::{BEGIN, END, update};

#[test]
fn the_page_says_what_the_ledger_holds() {
    let mut ledger = ledger("ppf pf.");
    ledger.suspect(SPECS[0], "c9", "it took 12 s");
    let page = update("", &ledger);
    let (_, part) = page.split_once(BEGIN).unwrap();
    expect![[r#"

        | sig | specs | passed | failed | of these passed before | never run | steady |
        |---|---|---|---|---|---|---|
        | sig-a | 2 | 1 | 1 | 1 | 0 | 0 |
        | sig-b | 1 | 0 | 1 | 0 | 0 | 0 |
        | all | 3 | 1 | 2 | 1 | 0 | 0 |

        A spec's state is that of its last run; steady ones passed in every run on record (full runs so far: 1 of 3), and continuous integration holds a change to them.
        The last of the runs on record is number 2, of commit c1: 1 passed, 1 failed.

        ## Next failures by cause
        | specs | cause | which |
        |---|---|---|
        | 1 | [sig-a] two of N did not | [sig-a] two |
        | 1 | [sig-b] three of N did not | [sig-b] three |

        ## Suspects
        Failed twice on one build, after a history of both verdicts; their logs are in `tests/conformance/suspects.jsonl`.
        - [sig-a] one (c9: it took N s)
        <!-- ledger: end -->
    "#]]
    .assert_eq(part);
}

#[test]
fn what_others_wrote_on_the_page_stays() {
    let before = format!("# A\n\nby hand\n\n{BEGIN}\nof last year\n{END}\n\n## More\n");
    let page = update(&before, &ledger("p"));
    assert!(page.starts_with("# A\n\nby hand\n\n<!-- ledger"), "{page}");
    assert!(
        page.ends_with("<!-- ledger: end -->\n\n## More\n"),
        "{page}"
    );
    assert!(!page.contains("last year"), "{page}");
    // Twice is once.
    assert_eq!(update(&page, &ledger("p")), page);
    let appended = update("# A\n", &ledger("p"));
    assert!(appended.starts_with("# A\n\n<!-- ledger"), "{appended}");
}

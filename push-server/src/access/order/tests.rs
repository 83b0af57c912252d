//! The whole table: every case there can be.

use super::*;

const BOTH: [bool; 2] = [false, true];

/// Every case, those included that no client can bring about.
fn cases() -> impl Iterator<Item = Case> {
    let bits = (0..1u32 << 8).flat_map(|bits| {
        [Shown::Nothing, Shown::User, Shown::NoUser].into_iter().flat_map(move |shown| {
            [Named::Not, Named::Known, Named::Unknown].map(move |named| (bits, shown, named))
        })
    });
    bits.map(|(bits, shown, named)| {
        let bit = |at: u32| bits & (1 << at) != 0;
        Case {
            shown,
            named,
            asks_exchange: bit(0),
            has_password: bit(1),
            is_token: bit(1) && bit(2),
            scram_required: bit(3),
            has_keys: bit(4),
            has_users: bit(5) || named == Named::Known,
            has_hook: bit(6),
            has_source: bit(4) || bit(5) || bit(6) || shown != Shown::Nothing,
            anonymous: bit(7),
        }
    })
}

/// The order as docs/authentication.md tells it, each sentence a step.
fn as_documented(case: &Case) -> Choice {
    if case.asks_exchange {
        return Choice::By(Source::Scram);
    }
    if case.scram_required {
        return Choice::NoProof;
    }
    let mut sources = Vec::new();
    if case.shown == Shown::User {
        sources.push(Source::Certificate);
    }
    if case.has_keys && case.is_token {
        sources.push(Source::Token);
    }
    match (case.named, case.has_password) {
        (Named::Known, true) => sources.push(Source::Users),
        (Named::Known, false) => {
            let first = sources.first().copied();
            return first.map_or(Choice::NoProof, Choice::By);
        }
        (Named::Not | Named::Unknown, _) => {}
    }
    if case.has_hook {
        sources.push(Source::Hook);
    }
    if case.has_users && case.named != Named::Not && case.has_password {
        sources.push(Source::Users);
    }
    if let Some(first) = sources.first() {
        return Choice::By(*first);
    }
    if case.shown == Shown::NoUser {
        return Choice::CertificateUnnamed;
    }
    match case.named {
        Named::Not if case.anonymous => Choice::By(Source::Anonymous),
        Named::Not => Choice::NoProof,
        _ if case.has_keys && case.has_password => Choice::NoToken,
        _ if case.anonymous && !case.has_source => Choice::By(Source::Anonymous),
        _ => Choice::NoProof,
    }
}

#[test]
fn the_table_says_what_the_documents_say_for_every_case() {
    let mut count = 0;
    for case in cases() {
        assert_eq!(case.choose(), as_documented(&case), "{case:?}");
        count += 1;
    }
    assert_eq!(count, 256 * 9);
}

#[test]
fn each_row_decides_about_somebody() {
    for (row, (is_about, choice)) in ORDER.iter().enumerate() {
        let earlier = &ORDER[..row];
        let is_first = |case: &Case| !earlier.iter().any(|(is_about, _)| is_about(case));
        let case = cases().find(|case| is_first(case) && is_about(case));
        assert!(case.is_some(), "row {row}, {choice:?}, is never reached");
    }
}

#[test]
fn a_source_that_knows_a_client_is_never_passed_by_for_one_behind_it() {
    let order = [Source::Certificate, Source::Token, Source::Users, Source::Hook];
    for case in cases().filter(|case| !case.asks_exchange && !case.scram_required) {
        let Choice::By(chosen) = case.choose() else { continue };
        let knows = |source| match source {
            Source::Certificate => case.shown == Shown::User,
            Source::Token => case.has_keys && case.is_token,
            Source::Users => case.named == Named::Known && case.has_password,
            _ => false,
        };
        let first = order.into_iter().find(|source| knows(*source));
        assert!(first.is_none_or(|first| first == chosen), "{case:?}: {chosen:?}");
    }
}

#[test]
fn nobody_is_let_in_as_nobody_who_gives_a_name_or_a_certificate_where_names_are_known() {
    for case in cases() {
        if case.choose() != Choice::By(Source::Anonymous) {
            continue;
        }
        assert!(case.anonymous && case.shown == Shown::Nothing, "{case:?}");
        assert!(case.named == Named::Not || !case.has_source, "{case:?}");
    }
    // The listener's other clients do not need one.
    for anonymous in BOTH {
        let nobody = Case {
            shown: Shown::Nothing,
            asks_exchange: false,
            named: Named::Not,
            has_password: false,
            is_token: false,
            scram_required: false,
            has_keys: true,
            has_users: true,
            has_hook: false,
            has_source: true,
            anonymous,
        };
        let expected = if anonymous { Choice::By(Source::Anonymous) } else { Choice::NoProof };
        assert_eq!(nobody.choose(), expected);
    }
}

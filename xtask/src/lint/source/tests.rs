use super::*;

fn paths(text: &str) -> Vec<String> {
    let module = ["crate", "mqtt", "codec"].map(str::to_owned);
    scan(text, &module).paths.iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn leaves_of_use_trees_are_paths() {
    let text = "use crate::{ring::Ring, kernel::{self, SlotRef as Slot}, *};\nuse tokio;";
    let expected =
        ["crate::ring::Ring", "crate::kernel::self", "crate::kernel::SlotRef", "crate", "tokio"];
    assert_eq!(paths(text), expected);
}

#[test]
fn paths_in_code_are_found_and_words_are_not() {
    let text = "fn now(x: &'a Instant) -> T<'a> { let c = 'c'; std::time::Instant::now() }";
    assert_eq!(paths(text), ["std::time::Instant::now"]);
}

#[test]
fn comments_and_literals_hold_no_paths() {
    let text = "// a::b\n/* c::d /* e::f */ */ let s = \"g::h \\\" i::j\"; let r = r#\"k::l \"m::n\"#; \
                    let b = b\"o::p\"; let q = '\"'; r::s();";
    assert_eq!(paths(text), ["r::s"]);
}

#[test]
fn relative_paths_are_resolved_inline_modules_included() {
    let text = "use super::session; mod tests { use super::super::will; } use self::deep;";
    assert_eq!(
        paths(text),
        ["crate::mqtt::session", "crate::mqtt::will", "crate::mqtt::codec::deep"]
    );
}

#[test]
fn a_use_tells_what_it_binds_and_whether_it_is_public() {
    let text = "pub(crate) use a::{B as C, d::{self, *}}; use e::f as _; fn g() { h::i() }";
    let paths = scan(text, &[]).paths;
    let bound: Vec<_> = paths.iter().map(|path| (path.binds.as_deref(), path.is_public)).collect();
    let expected = [
        (Some("C"), true),
        (Some("d"), true),
        (Some("*"), true),
        (Some("_"), false),
        (None, false),
    ];
    assert_eq!(bound, expected);
}

#[test]
fn items_are_those_of_the_module_itself() {
    let text = "pub struct A { b: u8 } const fn c() { fn d() {} } mod e { static mut F: u8 = 0; \
                    trait G { fn h(); } } fn i() -> *const J { k(fn() {}) } type L = [u8; 2];";
    let source = scan(text, &["crate".to_owned()]);
    let names: Vec<_> = source
        .items
        .iter()
        .map(|item| format!("{}::{}", item.module.join("::"), item.name))
        .collect();
    assert_eq!(
        names,
        ["crate::A", "crate::c", "crate::e::F", "crate::e::G", "crate::i", "crate::L"]
    );
}

#[test]
fn the_named_fields_of_a_struct_are_counted() {
    let text = "struct A<T: B> where T: C { #[d(e)] f: Vec<(T, G)>, pub(super) h: fn(i: u8) -> J<K>, } \
                    struct L(M); struct N; #[cfg(test)] struct O { p: Q }";
    let structs = scan(text, &[]).structs;
    let counted: Vec<_> =
        structs.iter().map(|item| (item.name.as_str(), item.fields, item.in_tests)).collect();
    assert_eq!(counted, [("A", 2, false), ("O", 1, true)]);
}

#[test]
fn modules_are_found_with_what_is_only_for_tests() {
    let text = "mod a; #[cfg(test)] mod b; mod tests { mod c; } #[cfg(test)] pub(crate) fn d(_: [u8; 2]) { e::f() } \
                    mod g { } use h::i;";
    let source = scan(text, &[]);
    let modules: Vec<_> = source
        .modules
        .iter()
        .map(|module| (module.path.join("::"), module.is_inline, module.in_tests))
        .collect();
    let expected = [
        ("a".to_owned(), false, false),
        ("b".to_owned(), false, true),
        ("tests".to_owned(), true, true),
        ("tests::c".to_owned(), false, true),
        ("g".to_owned(), true, false),
    ];
    assert_eq!(modules, expected);
    assert!(!source.words.contains("g") && !source.words.contains("b"));
    let in_tests: Vec<_> = source.paths.iter().map(|path| path.in_tests).collect();
    assert_eq!(in_tests, [true, false]);
}

#[test]
fn headers_of_impl_blocks_tell_the_type_the_trait_and_its_arguments() {
    let text = "impl<T: Fn(&u8) -> Vec<T>> a::B<T> {} impl K for (L, M) {} fn n() -> impl O {} \
                    unsafe impl<'a> c::D<e::F<G>, H> for &'a mut I<T> where T: J {}";
    let headers: Vec<_> = scan(text, &[])
        .impls
        .iter()
        .map(|block| {
            let traits: Vec<_> = block.trait_paths.iter().map(|path| path.join("::")).collect();
            (block.type_path.join("::"), traits)
        })
        .collect();
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let expected =
        [("a::B".to_owned(), vec![]), ("I".to_owned(), names(&["c::D", "e::F", "G", "H"]))];
    assert_eq!(headers, expected);
}

#[test]
fn suppressed_lints_are_found_with_their_line() {
    let text =
        "#[expect(a)]\n// #[allow(b)]\n#[allow(c)]\nfn f() { \"#[allow(d)]\n\" }\n#![allow(e)]";
    assert_eq!(scan(text, &[]).allow_lines, [3, 6]);
}

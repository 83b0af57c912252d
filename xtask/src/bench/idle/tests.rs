use super::*;

fn reading(connections: u32) -> Reading {
    let each = u64::from(connections);
    Reading {
        connections,
        anonymous: 2_000_000 + each * 512,
        slab: 9_000_000 + each * 4_000,
        available: 20_000_000_000 - each * 5_000,
        ..Reading::default()
    }
}

#[derive(clap::Parser)]
struct Parser {
    #[command(flatten)]
    arguments: IdleArguments,
}

fn parsed_steps(line: &str) -> Result<Vec<u32>> {
    let words = std::iter::once("idle").chain(line.split_ascii_whitespace());
    steps(&<Parser as clap::Parser>::try_parse_from(words)?.arguments)
}

#[test]
fn steps_reach_the_last_number_exactly() {
    assert_eq!(parsed_steps("").unwrap().len(), 8);
    assert_eq!(parsed_steps("--to 4500 --step 1000").unwrap(), [1_000, 2_000, 3_000, 4_000, 4_500]);
}

#[test]
fn too_few_steps_are_refused() {
    assert!(parsed_steps("--from 1000 --to 3000 --step 1000").is_err());
    assert!(parsed_steps("--from 3000 --to 1000").is_err());
    assert!(parsed_steps("--step 0").is_err());
}

#[test]
fn what_is_there_without_connections_is_in_no_slope() {
    let readings: Vec<Reading> = [1_000, 1_200, 1_500, 1_900].map(reading).to_vec();
    let slopes = slopes(&readings).unwrap();
    let slope = |label: &str| {
        slopes.iter().find(|slope| slope.label.starts_with(label)).unwrap().bytes.slope
    };
    assert!((slope("server process, anonymous") - 512.0).abs() < 1e-6);
    assert!((slope("kernel slab, both ends") - 4_000.0).abs() < 1e-6);
    assert!((slope("all of the machine") - 5_000.0).abs() < 1e-6);
    assert_eq!(slope("BPF maps"), 0.0);
}

#[test]
fn table_has_a_column_for_each_even_when_one_is_missing() {
    let readings: Vec<Reading> = [1_000, 1_200, 1_500, 1_900].map(reading).to_vec();
    let slopes = slopes(&readings).unwrap();
    let (variant, kernel_before) = (Variant::User, KernelMemory::default());
    let visits = [Visit { round: 0, variant, kernel_before, readings, slopes }];
    let table = table(&summary(&visits));
    assert_eq!(table.rows[0], ["server process, anonymous", "-", "512 ± 0", "-"]);
}

#[test]
fn answer_tables_are_named_where_there_are_any() {
    let tls = LayerArguments { tls: true, ..LayerArguments::default() };
    let text = table_text(&tls);
    assert!(text.contains(" 1088 bytes for each connection"), "{text}");
    assert_eq!(table_text(&LayerArguments { ws: true, ..tls }), "");
    assert_eq!(table_text(&LayerArguments::default()), "");
}

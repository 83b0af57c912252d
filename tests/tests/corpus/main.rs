//! The corpus of the fuzz targets (`fuzz/corpus`), each file fed to its target as libFuzzer does it:
//! everywhere, without another compiler. The seeds are made here, from packets, frames and files of
//! every kind, and what becomes of each is known; other files were found by fuzzing.

mod seeds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use push_server::fuzzing::outcome::Outcome;
use push_server::fuzzing::{TARGETS, run};

use seeds::{Seed, seeds};

/// With it the seeds are written instead of compared.
const WRITE_VARIABLE: &str = "PUSH_WRITE_SEEDS";

/// Most bytes of the corpus: every checkout has it.
const CORPUS_BYTES_MAX: u64 = 1 << 20;

fn folder_of(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// The files of a target's corpus, by name.
fn files_of(target: &str) -> Vec<PathBuf> {
    let folder = folder_of(target);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn path_of(seed: &Seed) -> PathBuf {
    folder_of(seed.target).join(format!("seed-{}", seed.name))
}

#[test]
fn every_file_of_the_corpus_keeps_the_properties() {
    for target in TARGETS {
        let files = files_of(target.name);
        let mut outcomes = [0; 3];
        for file in &files {
            println!("{}", file.display());
            let outcome = run(target.name, &fs::read(file).expect("a file of the corpus"));
            outcomes[outcome as usize] += 1;
        }
        let [taken, partial, refused] = outcomes;
        println!("{}: {taken} taken, {partial} partial, {refused} refused", target.name);
        // A corpus that only bounces off says little.
        assert!(taken > 0 && refused > 0, "{}: {outcomes:?}", target.name);
    }
}

#[test]
fn seeds_go_as_far_as_they_should() {
    let writes = std::env::var_os(WRITE_VARIABLE).is_some();
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for seed in seeds() {
        let path = path_of(&seed);
        assert!(names.insert(path.clone()), "two seeds are called {}", path.display());
        if writes && !(seed.is_random && path.exists()) {
            fs::create_dir_all(folder_of(seed.target)).expect("make a folder");
            fs::write(&path, &seed.bytes).expect("write a seed");
        }
        let bytes = fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; {WRITE_VARIABLE}=1 writes it", path.display())
        });
        assert!(
            seed.is_random || bytes == seed.bytes,
            "{} is not what it is made of any more; {WRITE_VARIABLE}=1 writes it",
            path.display()
        );
        let outcome = run(seed.target, &bytes);
        if outcome != seed.outcome {
            wrong.push(format!("{}: {outcome:?}, not {:?}", path.display(), seed.outcome));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for target in TARGETS {
        let written = files_of(target.name).into_iter();
        let is_seed = |file: &PathBuf| {
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-"))
        };
        let left: Vec<_> = written.filter(is_seed).filter(|file| !names.contains(file)).collect();
        assert_eq!(left, [""; 0].map(PathBuf::from), "nothing makes these any more");
        for outcome in [Outcome::Taken, Outcome::Refused] {
            let mut of_target = seeds().into_iter().filter(|seed| seed.target == target.name);
            assert!(of_target.any(|seed| seed.outcome == outcome), "{}: {outcome:?}", target.name);
        }
    }
}

#[test]
fn the_corpus_is_small() {
    let files = TARGETS.iter().flat_map(|target| files_of(target.name));
    let bytes: u64 = files.map(|file| fs::metadata(file).expect("a file").len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes; `cargo fuzz cmin` makes it smaller");
}

#[test]
fn each_target_is_a_program_and_each_program_a_target() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("fuzz/Cargo.toml");
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    let programs: BTreeSet<_> =
        manifest.split("[[bin]]").skip(1).filter_map(|table| table.split('"').nth(1)).collect();
    assert_eq!(names, programs);
    for name in names {
        let program = format!("../fuzz/fuzz_targets/{name}.rs");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(program);
        let text = fs::read_to_string(&program).expect("a program");
        assert!(text.contains(&format!("run(\"{name}\"")), "{}", program.display());
    }
}

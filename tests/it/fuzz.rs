//! The bodies of `fuzz/` for a short while, on its corpus and on seeded changes of it. What a body
//! asks for, cargo-fuzz asks of millions of inputs; this keeps it true from commit to commit.

#[path = "../../fuzz/src/lib.rs"]
pub mod bodies;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const RUN: Duration = Duration::from_secs(20);
/// The longest input that changes lead to.
const LONGEST: usize = 16 << 10;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

/// The committed inputs, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder().join("corpus").join(target)).expect("a corpus");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect()
}

/// What libFuzzer's dictionary holds: one quoted token a line.
fn tokens() -> Vec<Vec<u8>> {
    let dictionary = fs::read_to_string(folder().join("avro.dict")).expect("a dictionary");
    let token = |line: &str| {
        line.trim_matches('"')
            .replace("\\\"", "\"")
            .replace("\\\\", "\\")
    };
    dictionary
        .lines()
        .map(|line| token(line).into_bytes())
        .collect()
}

/// Varints about the edges of what they may be, and text that ends in none of its characters.
const HARD: [&[u8]; 9] = [
    &[0],
    &[1],
    &[2],
    &[0x7f],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x40],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    "🦀".as_bytes(),
];

/// One change somewhere.
fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], tokens: &[Vec<u8>], random: &mut StdRng) {
    let place = |random: &mut StdRng, length: usize| random.random_range(0..=length);
    let at = place(random, input.len());
    let end = (at + random.random_range(0..16)).min(input.len());
    match random.random_range(0..7) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 => drop(input.splice(at..end, HARD.choose(random).expect("one").iter().copied())),
        3 => drop(input.splice(at..end, tokens.choose(random).expect("one").iter().copied())),
        4 => drop(input.drain(at..end)),
        5 => {
            let copied = input[at..end].to_vec();
            let to = place(random, input.len());
            input.splice(to..to, copied);
        }
        _ => {
            let other = corpus.choose(random).expect("one");
            let from = place(random, other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
    input.truncate(LONGEST);
}

/// Runs a body on the corpus, and then on changes of it until the time is over.
fn run(target: &str, holds: fn(&[u8])) {
    let (corpus, tokens) = (corpus(target), tokens());
    let mut random = StdRng::seed_from_u64(7);
    let since = Instant::now();
    for input in &corpus {
        holds_for(target, holds, input);
    }
    let mut count = corpus.len();
    while since.elapsed() < RUN {
        let mut input = corpus.choose(&mut random).expect("an input").clone();
        for _ in 0..random.random_range(1..6) {
            change(&mut input, &corpus, &tokens, &mut random);
        }
        holds_for(target, holds, &input);
        count += 1;
    }
    println!("{target}: {count} inputs");
}

/// On a failure the input is left where cargo-fuzz can take it from.
fn holds_for(target: &str, holds: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| holds(input))) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
        fs::write(&path, input).expect("a file");
        eprintln!("the input is in {}", path.display());
        panic::resume_unwind(panic);
    }
}

#[test]
fn framing_holds_for_any_bytes() {
    run("framing", bodies::framing::holds);
}

#[test]
fn decoding_holds_for_any_bytes() {
    run("decode", bodies::decode::holds);
}

#[test]
fn schemas_and_envelopes_hold_for_any_text() {
    run("envelope", bodies::envelope::holds);
}

/// What is quadratic shows itself only in a long text.
#[test]
fn a_long_schema_costs_no_more_than_its_length_allows() {
    let many = |count: usize, one: &dyn Fn(usize) -> String| {
        (0..count).map(one).collect::<Vec<_>>().join(",")
    };
    let long = "a".repeat(400_000);
    let field = |n: usize, kind: &str| format!(r#"{{"name":"f{n}","type":{kind},"default":{{}}}}"#);
    let record = |rest: &str, fields: &str| {
        format!(r#"{{"type":"record","name":"R",{rest}"fields":[{fields}]}}"#)
    };
    let inner = record(
        "",
        &format!(r#"{{"name":"s","type":"string","default":"{long}"}}"#),
    );
    // Each of many defaults holds the long one of the type that it is of.
    let inherited = record(
        "",
        &format!(
            "{},{}",
            field(0, &inner.replace("\"R\"", "\"S\"")),
            many(8_000, &|n| field(n + 1, r#""S""#))
        ),
    );
    // Each of many types has the long namespace in its full name.
    let namespaced = record(
        &format!(r#""namespace":"{long}","#),
        &many(8_000, &|n| {
            format!(r#"{{"name":"f{n}","type":{{"type":"fixed","name":"F{n}","size":1}}}}"#)
        }),
    );
    // A long default is tried against each of many branches.
    let branches = many(8_000, &|n| {
        format!(r#"{{"type":"fixed","name":"F{n}","size":1}}"#)
    });
    let tried = record(
        "",
        &format!(r#"{{"name":"u","type":[{branches}],"default":"{long}"}}"#),
    );
    for text in [tried, inherited, namespaced] {
        bodies::envelope::holds(text.as_bytes());
    }
}

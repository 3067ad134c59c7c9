//! Where two JSON values differ.

use serde_json::Value as Json;

/// The first difference of what was read from what was expected: numbers by their text, so that
/// -0.0 is not 0, and objects with their order.
pub fn difference(expected: &Json, found: &Json) -> Option<String> {
    first(expected, found, false)
}

/// The same as far as jsonb keeps a value: it forgets the order of an object, the sign of a zero
/// and whether a number was written with a point.
pub fn jsonb_difference(expected: &Json, found: &Json) -> Option<String> {
    first(expected, found, true)
}

fn first(expected: &Json, found: &Json, jsonb: bool) -> Option<String> {
    match (expected, found) {
        (Json::Object(a), Json::Object(b)) => {
            let order = |of: &serde_json::Map<_, _>| of.keys().cloned().collect::<Vec<String>>();
            let (mut left, mut right) = (order(a), order(b));
            if jsonb {
                left.sort();
                right.sort();
            }
            if left != right {
                return Some(format!(": fields {right:?}, expected {left:?}"));
            }
            let at =
                |key: &String| first(&a[key], &b[key], jsonb).map(|rest| format!(".{key}{rest}"));
            left.iter().find_map(at)
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs
                .filter_map(|(i, (a, b))| first(a, b, jsonb).map(|rest| format!("[{i}]{rest}")))
                .next()
        }
        (Json::Number(a), Json::Number(b)) if jsonb && a.as_f64() == b.as_f64() => {
            let whole = |n: &serde_json::Number| n.as_i64();
            let exact = whole(a).is_none() || whole(b).is_none() || whole(a) == whole(b);
            (!exact).then(|| format!(": {b}, expected {a}"))
        }
        _ => {
            let (expected, found) = (expected.to_string(), found.to_string());
            let differs = expected != found;
            differs.then(|| format!(": {}, expected {}", brief(&found), brief(&expected)))
        }
    }
}

fn brief(text: &str) -> String {
    text.chars().take(300).collect()
}

#[test]
fn differences_are_found() {
    let json = |text: &str| serde_json::from_str::<Json>(text).expect("JSON");
    for (a, b, exact, jsonb) in [
        (r#"{"a":[1,2.5]}"#, r#"{"a":[1,2.5]}"#, true, true),
        (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, false, true),
        ("-0.0", "0.0", false, true),
        ("1e15", "1000000000000000", false, true),
        ("9007199254740993", "9007199254740992", false, false),
        (r#"[{"a":"x"}]"#, r#"[{"a":"y"}]"#, false, false),
        ("[1]", "[1,2]", false, false),
        ("null", r#""null""#, false, false),
    ] {
        let (a, b) = (json(a), json(b));
        assert_eq!(difference(&a, &b).is_none(), exact, "{a} {b}");
        assert_eq!(jsonb_difference(&a, &b).is_none(), jsonb, "{a} {b}");
    }
}

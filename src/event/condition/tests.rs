//! Conditions against data, and against whatever is sent as one.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn data() -> Value {
    json!({
        "orderId": "o1",
        "code": "007",
        "total": "100.50",
        "count": 9007199254740993_i64,
        "share": 0.1,
        "paid": true,
        "note": null,
        "at": "2026-03-01T10:00:00.000000Z",
        "day": "2026-03-01",
        "items": [{"productId": "p1", "quantity": 2}, {"productId": "p2", "quantity": 3}],
        "labels": {"0": "zero", "size": "XL"}
    })
}

fn one(field: &str, op: &str, value: Value) -> Value {
    json!([{"field": field, "op": op, "value": value}])
}

fn holds(field: &str, op: &str, value: Value) -> bool {
    let conditions = one(field, op, value);
    let conditions = Conditions::parse(&conditions).expect("conditions");
    conditions.hold(&data())
}

#[test]
fn numbers_are_compared_exactly() {
    assert!(holds("total", "eq", json!("100.5")));
    assert!(holds("total", "eq", json!(100.5)));
    assert!(holds("total", "gte", json!("100.50")));
    assert!(!holds("total", "gte", json!("100.5000000000000000000001")));
    assert!(holds("total", "lte", json!("100.5000000000000000000001")));
    // As binary fractions these two are one.
    assert!(!holds("count", "eq", json!(9007199254740992_i64)));
    assert!(!holds("count", "lte", json!("9007199254740992")));
    assert!(holds("count", "eq", json!("9007199254740993")));
    assert!(holds("share", "eq", json!("0.1")));
    assert!(holds("share", "lte", json!("0.1")));
}

#[test]
fn text_that_is_no_number_is_text() {
    assert!(holds("orderId", "eq", json!("o1")));
    assert!(!holds("orderId", "gte", json!(1)));
    // A number of JSON's has no such zeros, and one in text no exponent.
    assert!(!holds("code", "eq", json!(7)));
    assert!(!holds("code", "gte", json!(7)));
    assert!(holds("code", "in", json!(["006", "007"])));
    assert!(!holds("total", "eq", json!("1.005e2")));
}

#[test]
fn times_are_compared_as_instants() {
    assert!(holds("at", "eq", json!("2026-03-01T12:00:00+02:00")));
    assert!(holds("at", "gte", json!("2026-03-01")));
    assert!(holds("at", "lte", json!("2026-03-01T10:00:00Z")));
    assert!(!holds("at", "lte", json!("2026-03-01T09:59:59.999999Z")));
    assert!(holds("day", "gte", json!("2026-02-28")));
    // A time is no number.
    assert!(!holds("at", "gte", json!(0)));
    assert!(!holds("total", "gte", json!("2026-03-01")));
}

#[test]
fn fields_lie_within_records_lists_and_maps() {
    assert!(holds("items.0.productId", "eq", json!("p1")));
    assert!(holds("items.1.quantity", "gte", json!(3)));
    assert!(holds("labels.0", "eq", json!("zero")));
    for absent in [
        "items.2",
        "items.-1",
        "items.x",
        "orderId.x",
        "total.0",
        "Total",
        "items",
    ] {
        assert!(!holds(absent, "eq", json!("p1")), "{absent}");
    }
}

#[test]
fn what_is_not_there_fulfils_only_ne_and_exists_false() {
    for (op, value) in [
        ("eq", json!(null)),
        ("in", json!([null, 1])),
        ("gte", json!(0)),
        ("lte", json!(0)),
        ("exists", json!(true)),
    ] {
        assert!(!holds("missing", op, value), "{op}");
    }
    assert!(holds("missing", "ne", json!(1)));
    assert!(holds("missing", "ne", json!(null)));
    assert!(holds("missing", "exists", json!(false)));
    // Every field of a schema is in its JSON, so that null is what an absent value looks like.
    assert!(holds("note", "exists", json!(false)));
    assert!(holds("note", "eq", json!(null)));
    assert!(!holds("note", "ne", json!(null)));
    assert!(holds("paid", "exists", json!(true)));
    assert!(holds("items", "exists", json!(true)));
    assert!(holds("paid", "eq", json!(true)));
    assert!(holds("paid", "ne", json!("true")));
}

#[test]
fn all_must_hold() {
    let both = |value: Value| {
        let list = json!([
            {"field": "paid", "op": "exists"},
            {"field": "total", "op": "lte", "value": value}
        ]);
        Conditions::parse(&list).unwrap().hold(&data())
    };
    assert!(both(json!(101)));
    assert!(!both(json!(100)));
    assert!(Conditions::default().hold(&data()));
}

fn refused(json: Value) -> String {
    Conditions::parse(&json).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_named_where_it_is() {
    let deep = ["a"; 11].join(".");
    let texts = [
        refused(json!({})),
        refused(json!(vec![json!({"field": "a", "op": "exists"}); 21])),
        refused(json!([{"field": "a", "op": "exists"}, 7])),
        refused(json!([{"field": "a", "op": "eq", "value": 1, "or": 2}])),
        refused(json!([{"op": "exists"}])),
        refused(one("a..b", "eq", json!(1))),
        refused(one(&deep, "eq", json!(1))),
        refused(one(&"a".repeat(201), "eq", json!(1))),
        refused(one("a", "like", json!(1))),
        refused(json!([{"field": "a", "op": "eq"}])),
        refused(one("a", "eq", json!([1]))),
        refused(one("a", "in", json!([]))),
        refused(one("a", "in", json!([[1]]))),
        refused(one("a", "gte", json!("soon"))),
        refused(one("a", "exists", json!("yes"))),
        refused(one("a", "eq", json!("x".repeat(1_025)))),
        refused(one("a", "eq", json!(0.1234567890123456))),
    ];
    insta::assert_snapshot!(texts.join("\n"), @"
conditions: a list is expected
conditions: at most 20
conditions[1]: an object with field, op and value is expected
conditions[0]: only field, op and value are known
conditions[0].field: a text is expected
conditions[0].field: name a field of the data such as total or items.0.productId
conditions[0].field: at most 10 names deep
conditions[0].field: at most 200 bytes, and no U+0000
conditions[0].op: one of eq, ne, in, gte, lte, exists is expected
conditions[0].value: a value is expected
conditions[0].value: a text, a number, a boolean or null is expected
conditions[0].value: a list of 1 to 100 is expected
conditions[0].value: a text, a number, a boolean or null is expected
conditions[0].value: a number, a decimal in text or a time as RFC 3339 is expected
conditions[0].value: true or false is expected
conditions[0].value: at most 1024 bytes, and no U+0000
conditions[0].value: a number with so many digits is exact only in text
");
    let error = Conditions::parse(&one("a", "gte", json!(null))).unwrap_err();
    assert_eq!(error.pointer(), "/0/value");
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1_000_i64..1_000, 0..4_u32).prop_map(|(whole, cents)| json!(format!("{whole}.{cents}0"))),
        (0..100_000_i64).prop_map(|second| json!(crate::event::timestamp_text(second * 1_000_000))),
        "[a-z]{0,4}".prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    scalars().prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]|op|field|value", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever is sent is taken or refused; what is taken is stored and read as itself.
    #[test]
    fn what_is_taken_is_read_again(list in any_json(), data in any_json()) {
        let Ok(conditions) = Conditions::parse(&list) else {
            return Ok(());
        };
        let text = conditions.to_json().to_string();
        let again = Conditions::parse(&serde_json::from_str(&text).unwrap()).unwrap();
        prop_assert_eq!(conditions.hold(&data), again.hold(&data));
        prop_assert_eq!(again, conditions);
    }

    /// `ne` and `exists` are the opposite of their opposites; `in` is `eq` of one of them; and what
    /// is at least and at most something is equal to it.
    #[test]
    fn operators_agree(found in any_json(), values in prop::collection::vec(scalars(), 1..5)) {
        let data = json!({"a": found});
        let holds = |op: &str, value: &Value| {
            let conditions = Conditions::parse(&one("a", op, value.clone()));
            conditions.map(|conditions| conditions.hold(&data)).ok()
        };
        for value in &values {
            prop_assert_eq!(holds("eq", value).map(|held| !held), holds("ne", value));
            if let (Some(least), Some(most)) = (holds("gte", value), holds("lte", value)) {
                let equal = holds("eq", value).unwrap();
                prop_assert_eq!(least && most, equal);
            }
        }
        let any = values.iter().any(|value| holds("eq", value) == Some(true));
        prop_assert_eq!(holds("in", &json!(values)), Some(any));
        prop_assert_ne!(holds("exists", &json!(true)), holds("exists", &json!(false)));
    }
}

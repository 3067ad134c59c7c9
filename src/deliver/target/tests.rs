//! Every spelling by which a URL was seen to reach where it should not.

use proptest::prelude::*;

use super::*;

fn rules() -> Rules {
    Rules::new(&Webhooks::default())
}

/// Rules that let everything through but the addresses.
fn lax() -> Rules {
    Rules::new(&Webhooks {
        allow_http: true,
        ports: vec![80, 443, 8443],
        ..Webhooks::default()
    })
}

/// Hosts that are, or lead to, an address that is not public.
const SPELLINGS: [&str; 84] = [
    // Plain.
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "198.18.0.1",
    // Fewer parts.
    "127.1",
    "127.0.1",
    "10.1",
    "192.168.257",
    "0",
    "00",
    "0x",
    // One number: decimal, hexadecimal, octal.
    "2130706433",
    "2852039166",
    "3232235777",
    "4294967295",
    "0x7f000001",
    "0X7F000001",
    "0xA9FEA9FE",
    "0x0000007f000001",
    "017700000001",
    "0017700000001",
    // Parts in other bases, and mixed.
    "0x7f.0.0.1",
    "0x7f.0x0.0x0.0x1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "00000177.0.0.1",
    "0177.1",
    "0251.0376.0251.0376",
    "0xa9.0xfe.0xa9.0xfe",
    "169.0xfe.0251.254",
    "0xa9.16689662",
    "0.0x0.0.00",
    // A dot at the end.
    "127.0.0.1.",
    "0x7f.1.",
    "2130706433.",
    "169.254.169.254.",
    // Percent-encoded.
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "%6c%6fcalhost",
    "0%787f.1",
    // Digits, letters and dots of other scripts.
    "１２７.０.０.１",
    "１２７。０。０。１",
    "127．0．0．1",
    "127｡0｡0｡1",
    "①②⑦.⓪.⓪.①",
    "𝟭𝟮𝟳.𝟬.𝟬.𝟭",
    "０ｘ７ｆ.１",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "１６９.２５４.１６９.２５４",
    "127.0.0.\u{ad}1",
    "127.0\u{200b}.0.1",
    // Names that are loopback by definition.
    "localhost",
    "LOCALHOST",
    "localhost.",
    "receiver.localhost",
    // IPv6.
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:1]",
    "[0:0:0:0:0:ffff:169.254.169.254]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "[fe80::1]",
    "[fec0::1]",
];

/// Hosts that are none.
const NO_HOSTS: [&str; 18] = [
    "",
    "256.256.256.256",
    "127.0.0.256",
    "4294967296",
    "0x100000000",
    "1.2.3.4.5",
    "127.0.0.1.1",
    "08.0.0.1",
    "0x7g.0.0.1",
    "127..1",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::1",
    "::1",
    "[127.0.0.1]",
    "[::ffff:127.1]",
    "a b",
    "exa<mple",
];

#[test]
fn no_spelling_of_an_address_that_is_not_public_passes() {
    for host in SPELLINGS {
        for scheme in ["https", "http", "HTTPS"] {
            for rest in ["", "/", ":443/a", "/x?y#z", "\\@example.com/"] {
                let url = format!("{scheme}://{host}{rest}");
                let refusal = lax().target(&url).expect_err(&url);
                let named = matches!(refusal, Refusal::Literal { .. });
                assert!(named, "{url}: {refusal}");
            }
        }
    }
}

#[test]
fn a_spelling_of_an_address_is_named_as_the_address() {
    for (url, address) in [
        ("https://0x7f.1/", "127.0.0.1"),
        ("https://2852039166", "169.254.169.254"),
        ("https://１２７。０。０。１/", "127.0.0.1"),
        ("https:0251.0376.0251.0376", "169.254.169.254"),
        ("https://[::ffff:7f00:1]", "::ffff:127.0.0.1"),
    ] {
        let address: IpAddr = address.parse().unwrap();
        match lax().target(url) {
            Err(Refusal::Literal { address: found, .. }) => assert_eq!(found, address, "{url}"),
            other => panic!("{url}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_host_is_no_url() {
    for host in NO_HOSTS {
        let url = format!("https://{host}/");
        let refusal = lax().target(&url).expect_err(&url);
        assert!(matches!(refusal, Refusal::NotUrl(_)), "{url}: {refusal}");
    }
    let long = format!("https://example.com/{}", "a".repeat(MAX_URL));
    let label = format!("https://{}.com/", "a".repeat(64));
    for url in [
        "",
        "example.com",
        "//example.com/",
        "https://exam\nple.com/",
        " https://example.com/",
        "https://example.com/a\tb",
        "https://example.com:99999/",
        &long,
        &label,
    ] {
        let refusal = lax().target(url).expect_err(url);
        assert!(matches!(refusal, Refusal::NotUrl(_)), "{url}: {refusal}");
    }
}

#[test]
fn scheme_port_and_user_are_checked() {
    for scheme in [
        "http",
        "ftp",
        "file",
        "gopher",
        "ws",
        "unix",
        "data",
        "javascript",
    ] {
        let url = format!("{scheme}://example.com/");
        let refusal = rules().target(&url).expect_err(&url);
        assert!(
            matches!(refusal, Refusal::Scheme { .. }),
            "{url}: {refusal}"
        );
    }
    for (url, port) in [
        ("https://example.com:22/", 22),
        ("https://example.com:0/", 0),
        ("https://example.com:80/", 80),
    ] {
        assert_eq!(rules().target(url), Err(Refusal::Port(port)), "{url}");
    }
    for url in [
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://:word@example.com/",
        "https://example.com@10.0.0.1/",
        "https://example.com:443@example.org/",
    ] {
        assert_eq!(rules().target(url), Err(Refusal::UserInfo), "{url}");
    }
}

#[test]
fn a_good_url_is_kept_in_its_normal_form() {
    for (url, normal) in [
        ("https://example.com", "https://example.com/"),
        (
            "HTTPS://Example.COM:443/Hook?a=b#c",
            "https://example.com/Hook?a=b",
        ),
        (
            "https://bücher.example/ü",
            "https://xn--bcher-kva.example/%C3%BC",
        ),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://0x08.010.2056/", "https://8.8.8.8/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        (
            "https://my_host.example.com./",
            "https://my_host.example.com./",
        ),
        // Whatever it looks like, the host is the part after the scheme.
        (
            "https://example.com\\@10.0.0.1/",
            "https://example.com/@10.0.0.1/",
        ),
    ] {
        let target = rules()
            .target(url)
            .unwrap_or_else(|why| panic!("{url}: {why}"));
        assert_eq!(target.as_str(), normal);
    }
}

#[test]
fn an_allowed_network_opens_only_itself() {
    let rules = Rules::new(&Webhooks {
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..Webhooks::default()
    });
    assert!(rules.target("https://127.0.0.1/").is_ok());
    assert!(rules.target("https://localhost/").is_ok());
    assert!(rules.target("https://[::1]/").is_err());
    assert!(rules.target("https://[::ffff:127.0.0.1]/").is_err());
    assert!(rules.target("https://10.0.0.1/").is_err());
}

/// One number in a base and with zeros before it, as inet_aton reads it.
fn number(value: u32) -> impl Strategy<Value = String> {
    (0..3_u8, 0..4_usize).prop_map(move |(base, zeros)| {
        let zeros = "0".repeat(zeros);
        match base {
            0 => value.to_string(),
            1 => format!("0x{zeros}{value:x}"),
            _ => format!("0{zeros}{value:o}"),
        }
    })
}

/// Any spelling that inet_aton reads: one to four parts, the last taking the rest.
fn spelling(bits: u32) -> impl Strategy<Value = String> {
    (1..=4_u32, any::<bool>()).prop_flat_map(move |(parts, dot)| {
        let leading = (1..parts).map(|part| bits >> (32 - 8 * part) & 0xff);
        let rest = bits & (u32::MAX >> (8 * (parts - 1)));
        let numbers: Vec<_> = leading.chain([rest]).map(number).collect();
        numbers.prop_map(move |parts| parts.join(".") + if dot { "." } else { "" })
    })
}

proptest! {
    #[test]
    fn any_spelling_is_judged_as_its_address(
        (bits, host) in any::<u32>().prop_flat_map(|bits| (Just(bits), spelling(bits)))
    ) {
        let address = Ipv4Addr::from_bits(bits).into();
        let wanted = match lax().addresses().refused(address) {
            Some(kind) => Err(Refusal::Literal { address, kind }),
            None => Ok(format!("https://{address}/")),
        };
        let found = lax().target(&format!("https://{host}/")).map(|t| t.as_str().to_owned());
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn whatever_is_written_is_refused_or_read_the_same_by_both_parsers(text in "https?://\\PC{0,40}") {
        if let Ok(target) = lax().target(&text) {
            let again = lax().target(target.as_str());
            prop_assert_eq!(again, Ok(target));
        }
    }
}

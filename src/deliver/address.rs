//! Which IP addresses a tenant may name: public ones, and the operator's own receivers.
//!
//! Source: IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its successors).
//! All of their entries are refused, reachable or not, for no receiver is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Tells allowed addresses from refused ones.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    allowed: Vec<IpNet>,
}

impl Addresses {
    /// Public addresses and those of the operator's networks. An IPv4 address inside an IPv6 one
    /// is allowed only by a network of IPv6.
    pub fn new(allowed: &[IpNet]) -> Self {
        let allowed = allowed.to_vec();
        Self { allowed }
    }

    /// What kind of address it is, where it is refused.
    pub fn refused(&self, address: IpAddr) -> Option<&'static str> {
        let kind = special(address)?;
        let allowed = self.allowed.iter().any(|net| net.contains(&address));
        (!allowed).then_some(kind)
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(bits: u128, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length)
}

const IPV4: [(Ipv4Net, &str); 20] = [
    (v4(0, 0, 0, 0, 8), "an unspecified"),
    (v4(10, 0, 0, 0, 8), "a private"),
    (v4(100, 64, 0, 0, 10), "a shared (CGNAT)"),
    (v4(127, 0, 0, 0, 8), "a loopback"),
    (v4(168, 63, 129, 16, 32), "a cloud's metadata"),
    (v4(169, 254, 169, 254, 32), "a cloud's metadata"),
    (v4(169, 254, 0, 0, 16), "a link-local"),
    (v4(172, 16, 0, 0, 12), "a private"),
    (v4(192, 0, 0, 0, 24), "a protocol's"),
    (v4(192, 0, 2, 0, 24), "a documentation"),
    (v4(192, 31, 196, 0, 24), "an AS112"),
    (v4(192, 52, 193, 0, 24), "an AMT"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay's"),
    (v4(192, 168, 0, 0, 16), "a private"),
    (v4(192, 175, 48, 0, 24), "an AS112"),
    (v4(198, 18, 0, 0, 15), "a benchmarking"),
    (v4(198, 51, 100, 0, 24), "a documentation"),
    (v4(203, 0, 113, 0, 24), "a documentation"),
    (v4(224, 0, 0, 0, 4), "a multicast"),
    (v4(240, 0, 0, 0, 4), "a reserved or broadcast"),
];

/// The only part of IPv6 from which public addresses are assigned.
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000 << 112, 3);

const IPV6: [(Ipv6Net, &str); 20] = [
    (v6(0, 128), "an unspecified"),
    (v6(1, 128), "a loopback"),
    (v6(0, 96), "an IPv4-compatible"),
    (v6(0xffff << 32, 96), "an IPv4-mapped"),
    (v6(0xffff << 48, 96), "an IPv4-translated"),
    (v6(0x0064_ff9b << 96, 96), "an IPv4-translated (NAT64)"),
    (v6(0x0064_ff9b_0001 << 80, 48), "an IPv4-translated (NAT64)"),
    (v6(0x0100 << 112, 32), "a discard or dummy"),
    (v6(0x2001 << 112, 32), "a Teredo"),
    (v6(0x2001_0002 << 96, 48), "a benchmarking"),
    (v6(0x2001 << 112, 23), "a protocol's"),
    (v6(0x2001_0db8 << 96, 32), "a documentation"),
    (v6(0x2002 << 112, 16), "a 6to4"),
    (v6(0x2620_004f_8000 << 80, 48), "an AS112"),
    (v6(0x3fff << 112, 20), "a documentation"),
    (v6(0x5f00 << 112, 16), "a segment routing"),
    (v6(0xfc00 << 112, 7), "a unique local"),
    (v6(0xfe80 << 112, 10), "a link-local"),
    (v6(0xfec0 << 112, 10), "a site-local"),
    (v6(0xff00 << 112, 8), "a multicast"),
];

/// What kind of address it is, where it is not public.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => named(IPV4.iter().find(|(net, _)| net.contains(&v4))),
        IpAddr::V6(v6) => named(IPV6.iter().find(|(net, _)| net.contains(&v6)))
            .or((!GLOBAL_UNICAST.contains(&v6)).then_some("a reserved")),
    }
}

fn named<Net>(entry: Option<&(Net, &'static str)>) -> Option<&'static str> {
    entry.map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> Option<&'static str> {
        Addresses::new(&[]).refused(text.parse().unwrap())
    }

    #[test]
    fn the_edges_of_each_range() {
        for (inside, outside) in [
            ("10.0.0.0", "9.255.255.255"),
            ("10.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.63.255.255"),
            ("100.127.255.255", "100.128.0.0"),
            ("127.255.255.255", "128.0.0.0"),
            ("0.255.255.255", "1.0.0.0"),
            ("168.63.129.16", "168.63.129.17"),
            ("169.254.0.0", "169.253.255.255"),
            ("169.254.255.255", "169.255.0.0"),
            ("172.16.0.0", "172.15.255.255"),
            ("172.31.255.255", "172.32.0.0"),
            ("192.0.0.255", "192.0.1.0"),
            ("192.0.2.255", "192.0.3.0"),
            ("192.168.255.255", "192.169.0.0"),
            ("198.19.255.255", "198.20.0.0"),
            ("224.0.0.0", "223.255.255.255"),
            ("3fff:fff:ffff::", "3fff:1000::"),
            ("2001:1ff:ffff::1", "2001:200::1"),
            ("2001:db8:ffff::", "2001:db9::"),
            ("2002:ffff::", "2003::"),
            ("2620:4f:8000:ffff::", "2620:4f:8001::"),
        ] {
            assert!(refused(inside).is_some(), "{inside}");
            assert_eq!(refused(outside), None, "{outside}");
        }
    }

    #[test]
    fn each_kind_is_called_by_its_name() {
        for (address, kind) in [
            ("169.254.169.254", "a cloud's metadata"),
            ("169.254.1.1", "a link-local"),
            ("255.255.255.255", "a reserved or broadcast"),
            ("::", "an unspecified"),
            ("::1", "a loopback"),
            ("::127.0.0.1", "an IPv4-compatible"),
            ("::ffff:8.8.8.8", "an IPv4-mapped"),
            ("::ffff:0:8.8.8.8", "an IPv4-translated"),
            ("64:ff9b::8.8.8.8", "an IPv4-translated (NAT64)"),
            ("64:ff9b:1:ffff::1", "an IPv4-translated (NAT64)"),
            ("64:ff9b:2::1", "a reserved"),
            ("100::1", "a discard or dummy"),
            ("2001::1", "a Teredo"),
            ("2001:2::1", "a benchmarking"),
            ("2001:20::1", "a protocol's"),
            ("2002:7f00:1::", "a 6to4"),
            ("5f00::1", "a segment routing"),
            ("fd00:ec2::254", "a unique local"),
            ("fe80::1", "a link-local"),
            ("fec0::1", "a site-local"),
            ("ff02::1", "a multicast"),
            ("4000::1", "a reserved"),
        ] {
            assert_eq!(refused(address), Some(kind), "{address}");
        }
        for public in ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450::1"] {
            assert_eq!(refused(public), None, "{public}");
        }
    }

    #[test]
    fn the_operators_networks_are_allowed_and_no_more() {
        let networks = ["10.1.0.0/16", "fd00:1::/32"].map(|net| net.parse().unwrap());
        let addresses = Addresses::new(&networks);
        let refused = |text: &str| addresses.refused(text.parse().unwrap()).is_some();
        assert!(!refused("10.1.2.3"));
        assert!(!refused("fd00:1::5"));
        assert!(refused("10.2.0.0"));
        assert!(refused("::ffff:10.1.2.3"));
        assert!(refused("127.0.0.1"));
    }

    proptest! {
        /// The standard library's own opinion, where it has one, is never laxer than ours.
        #[test]
        fn what_the_standard_library_calls_special_is_refused(bits: u32, bits6: u128) {
            let v4 = Ipv4Addr::from_bits(bits);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified()
            {
                prop_assert!(special(v4.into()).is_some());
            }
            let v6 = Ipv6Addr::from_bits(bits6);
            if v6.is_loopback() || v6.is_unspecified() || v6.is_multicast()
                || v6.is_unique_local() || v6.is_unicast_link_local() || v6.to_ipv4().is_some()
            {
                prop_assert!(special(v6.into()).is_some());
            }
        }

        /// However an IPv4 address is carried in an IPv6 one, it is refused, public or not.
        #[test]
        fn no_ipv4_address_passes_inside_an_ipv6_one(bits: u32, host: u64) {
            let low = u128::from(bits);
            let teredo = (0x2001_u128 << 112) | (u128::from(host) << 32) | (low ^ 0xffff_ffff);
            for carried in [
                low,
                (0xffff << 32) | low,
                (0xffff << 48) | low,
                (0x0064_ff9b << 96) | low,
                (0x0064_ff9b_0001 << 80) | low,
                (0x2002 << 112) | (low << 80) | u128::from(host),
                teredo,
            ] {
                prop_assert!(special(Ipv6Addr::from_bits(carried).into()).is_some());
            }
        }
    }
}

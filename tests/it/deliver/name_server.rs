//! A name server that answers as it is told, over UDP.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

/// What it answers to a query for addresses.
#[derive(Clone, Debug)]
pub enum Says {
    /// These addresses, each to the kind of query that asks for it, not to be remembered.
    Addresses(Vec<IpAddr>),
    /// That the name is another's, which has this address.
    Alias(&'static str, IpAddr),
    /// Only this code: 2 cannot say, 3 no such name.
    Code(u8),
    /// Nothing.
    Silence,
}

/// A name server.
pub struct NameServer {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    says: Vec<Says>,
    turn: usize,
    asked: Vec<String>,
}

impl NameServer {
    /// Starts one that says this.
    pub async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            says: vec![says],
            turn: 0,
            asked: Vec::new(),
        }));
        tokio::spawn(serve(socket, state.clone()));
        Self { address, state }
    }

    /// From now on it says these in turn, a new one for each query of an IPv4 address.
    pub fn say(&self, says: &[Says]) {
        let mut state = self.state.lock().expect("the state");
        state.says = says.to_vec();
        state.turn = 0;
    }

    /// The names that it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().expect("the state").asked.clone()
    }
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut query = [0; 4_096];
    while let Ok((length, from)) = socket.recv_from(&mut query).await {
        let (name, kind, question) = question(&query[..length]);
        let says = state.lock().expect("the state").next(name, kind);
        if let Some(answer) = answer(&query[..2], question, kind, &says) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

impl State {
    fn next(&mut self, name: String, kind: u16) -> Says {
        self.asked.push(name);
        let says = self.says[self.turn % self.says.len()].clone();
        self.turn += usize::from(kind == A);
        says
    }
}

/// The name that is asked for, the kind of record, and the question's own bytes.
fn question(query: &[u8]) -> (String, u16, &[u8]) {
    let (mut at, mut name) = (12, String::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name += &String::from_utf8_lossy(&query[at + 1..end]);
        name.push('.');
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    (name, kind, &query[12..at + 5])
}

fn answer(id: &[u8], question: &[u8], kind: u16, says: &Says) -> Option<Vec<u8>> {
    // The name of the question, by its place in the message (RFC 1035, 4.1.4).
    let asked = [0xc0, 12];
    let fits = |address: &&IpAddr| address.is_ipv4() == (kind == A);
    let (code, records) = match says {
        Says::Addresses(all) => (0, all.iter().filter(fits).map(|a| of(&asked, *a)).collect()),
        Says::Alias(name, address) => {
            let mut records = vec![record(&asked, CNAME, &labels(name))];
            records.extend(Some(address).filter(fits).map(|a| of(&labels(name), *a)));
            (0, records)
        }
        Says::Code(code) => (*code, Vec::new()),
        Says::Silence => return None,
    };
    let count = u8::try_from(records.len()).expect("few records");
    let mut message = [id, &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]].concat();
    message.extend_from_slice(question);
    message.extend(records.concat());
    Some(message)
}

fn of(owner: &[u8], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => record(owner, A, &v4.octets()),
        IpAddr::V6(v6) => record(owner, AAAA, &v6.octets()),
    }
}

/// A record that lives for no time.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short data");
    let kind = kind.to_be_bytes();
    [
        owner,
        &kind,
        &[0, 1, 0, 0, 0, 0],
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

//! A name server inside the test's process.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Longest query that is read.
const MAX_QUERY: usize = 512;

/// A name server that knows what some handles stand for, and nothing else. Dropping it stops it.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl NameServer {
    /// Starts one on a free port that knows these handles and their DIDs.
    ///
    /// # Panics
    /// If no port of the loopback interface is free.
    pub async fn start(handles: &[(&str, &str)]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let known = handles.iter().map(|(handle, did)| (format!("_atproto.{handle}."), format!("did={did}")));
        Self { address, server: tokio::spawn(serve(socket, known.collect())) }
    }

    /// Its address, for `PDS_HANDLE_BACKUP_NAMESERVERS`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(socket: UdpSocket, known: HashMap<String, String>) {
    let mut buffer = [0; MAX_QUERY];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
        let Ok(reply) = answer(query, &known).to_vec() else { continue };
        // Whoever asked may have left.
        let _ = socket.send_to(&reply, peer).await;
    }
}

fn answer(query: Message, known: &HashMap<String, String>) -> Message {
    let question = query.queries[0].clone();
    let mut reply = query;
    reply.metadata.message_type = MessageType::Response;
    match known.get(&question.name().to_utf8()) {
        Some(text) => {
            // A long text comes in pieces.
            let (front, back) = text.split_at(text.len() / 2);
            let data = RData::TXT(TXT::new(vec![front.to_owned(), back.to_owned()]));
            reply.add_answer(Record::from_rdata(question.name().clone(), 60, data));
        }
        None => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply
}

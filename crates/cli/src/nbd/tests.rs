//! A client of a few lines against the server, and clients that are none.

use super::wire::{answer, chunk, command, errno, flag, info, option, reply, take};
use super::*;
use block::ByteRange;
use proptest::prelude::*;
use testkit::{Memory, pattern};

const SIZE: usize = 3 << 20;

fn exports() -> Vec<Arc<Export>> {
    let export = |name: &str, source: Memory| {
        Arc::new(Export {
            name: name.into(),
            description: "a disk".into(),
            source: Arc::new(source),
            overlay: None,
        })
    };
    let mut bytes = pattern(SIZE);
    bytes[1 << 20..2 << 20].fill(0);
    let disk = Memory::new(bytes).with(|disk| {
        disk.holes = vec![ByteRange::span(1 << 20, 2 << 20)];
        disk.bad = vec![ByteRange::span(2_500_096, 2_500_608)];
        disk.threads = 4;
    });
    vec![export("", disk), export("1", Memory::new(pattern(4096)))]
}

/// The other end of a connection that is served until it closes.
fn client() -> UnixStream {
    let (client, server) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let stream = Stream::Unix(server);
        let _ = connection(&stream, &exports());
    });
    let mut stream = &client;
    assert_eq!(take::<18>(&mut stream).unwrap()[..8], *b"NBDMAGIC");
    stream.write_all(&3_u32.to_be_bytes()).unwrap();
    client
}

fn ask(mut stream: &UnixStream, option: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
    stream.write_all(&wire::IHAVEOPT.to_be_bytes()).unwrap();
    stream.write_all(&option.to_be_bytes()).unwrap();
    stream.write_all(&u32::try_from(data.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(data).unwrap();
    let mut answers = vec![];
    loop {
        let head: [u8; 20] = take(&mut stream).unwrap();
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        assert_eq!(number(8), option);
        let mut data = vec![0; number(16) as usize];
        stream.read_exact(&mut data).unwrap();
        let kind = number(12);
        answers.push((kind, data));
        if kind == reply::ACK || kind >= 1 << 31 {
            return answers;
        }
    }
}

/// Of INFO and GO.
fn named(name: &str) -> Vec<u8> {
    [&u32::try_from(name.len()).unwrap().to_be_bytes(), name.as_bytes(), &[0, 0]].concat()
}

fn request(mut stream: &UnixStream, kind: u16, flags: u16, offset: u64, length: u32) {
    let head = [
        &0x2560_9513_u32.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &kind.to_be_bytes(),
        &7_u64.to_be_bytes(),
        &offset.to_be_bytes(),
        &length.to_be_bytes(),
    ];
    stream.write_all(&head.concat()).unwrap();
}

/// Error of a simple reply.
fn simple_reply(mut stream: &UnixStream) -> u32 {
    let head: [u8; 16] = take(&mut stream).unwrap();
    assert_eq!((&head[..4], head[15]), (&0x6744_6698_u32.to_be_bytes()[..], 7));
    u32::from_be_bytes(head[4..8].try_into().unwrap())
}

/// All chunks of a structured reply: kind and body.
fn chunks(mut stream: &UnixStream) -> Vec<(u16, Vec<u8>)> {
    let mut chunks = vec![];
    loop {
        let head: [u8; 20] = take(&mut stream).unwrap();
        assert_eq!((&head[..4], head[15]), (&0x668e_33ef_u32.to_be_bytes()[..], 7));
        let number = |at: usize| u16::from_be_bytes(head[at..at + 2].try_into().unwrap());
        let mut body = vec![0; u32::from_be_bytes(head[16..].try_into().unwrap()) as usize];
        stream.read_exact(&mut body).unwrap();
        chunks.push((number(6), body));
        if number(4) & chunk::DONE != 0 {
            return chunks;
        }
    }
}

#[test]
fn paths_of_any_bytes_have_a_uri() {
    assert_eq!(unix_uri(OsStr::new("/run/a b&c%")), "nbd+unix:///?socket=/run/a%20b%26c%25");
}

#[test]
fn exports_are_listed_and_described() {
    let stream = client();
    let listed = ask(&stream, option::LIST, b"");
    assert_eq!(listed.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(listed[1].1, b"\0\0\0\x011a disk");
    let told = ask(&stream, option::INFO, &named("1"));
    let of = |kind: u16| told.iter().find(|(_, data)| data.starts_with(&kind.to_be_bytes())).unwrap();
    assert_eq!(of(info::EXPORT).1[2..10], 4096_u64.to_be_bytes());
    assert_eq!(of(info::BLOCK_SIZE).1[2..6], 1_u32.to_be_bytes());
    assert_eq!(ask(&stream, option::INFO, &named("no"))[0].0, reply::ERR_UNKNOWN);
    assert_eq!(ask(&stream, option::INFO, b"xx")[0].0, reply::ERR_INVALID);
    assert_eq!(ask(&stream, 5, b"")[0].0, reply::ERR_UNSUP);
    assert_eq!(ask(&stream, option::LIST, &vec![0; 70_000])[0].0, reply::ERR_TOO_BIG);
    // Contexts only behind structured replies.
    let context = [&named("")[..4], &1_u32.to_be_bytes(), &15_u32.to_be_bytes(), b"base:allocation"].concat();
    assert_eq!(ask(&stream, option::SET_META_CONTEXT, &context)[0].0, reply::ERR_INVALID);
    assert_eq!(ask(&stream, option::ABORT, b"")[0].0, reply::ACK);
}

#[test]
fn an_old_client_reads_and_is_told_of_errors() {
    let stream = client();
    let told = ask(&stream, option::GO, &named(""));
    let flags = u16::from_be_bytes(told[0].1[10..12].try_into().unwrap());
    assert_eq!(flags & (flag::READ_ONLY | flag::CAN_MULTI_CONN | flag::SEND_DF), 2 | 256);
    request(&stream, command::READ, 0, 511, 70_000);
    assert_eq!(simple_reply(&stream), 0);
    let mut bytes = vec![0; 70_000];
    (&stream).read_exact(&mut bytes).unwrap();
    assert!(bytes == pattern(SIZE)[511..70_511]);
    let size = SIZE as u64;
    for (kind, offset, length, code) in [
        (command::READ, size - 1, 2, errno::EINVAL),
        (command::READ, u64::MAX, 2, errno::EINVAL),
        (command::READ, 0, 0, errno::EINVAL),
        (command::READ, 2_500_000, 512, errno::EIO),
        (command::TRIM, 0, 512, errno::EPERM),
        (command::FLUSH, 0, 0, 0),
        (command::CACHE, 0, 1 << 20, 0),
        (command::BLOCK_STATUS, 0, 512, errno::EINVAL),
        (99, 0, 512, errno::ENOTSUP),
    ] {
        request(&stream, kind, 0, offset, length);
        assert_eq!(simple_reply(&stream), code, "{kind} {offset}");
    }
    request(&stream, command::WRITE, 0, 0, 5);
    (&stream).write_all(b"12345").unwrap();
    assert_eq!(simple_reply(&stream), errno::EPERM);
    request(&stream, command::DISC, 0, 0, 0);
    assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
}

#[test]
fn chunks_holes_and_extents() {
    let stream = client();
    ask(&stream, option::STRUCTURED_REPLY, b"");
    let context = [&named("")[..4], &1_u32.to_be_bytes(), &15_u32.to_be_bytes(), b"base:allocation"].concat();
    assert_eq!(ask(&stream, option::SET_META_CONTEXT, &context)[0].1, b"\0\0\0\x01base:allocation");
    ask(&stream, option::GO, &named(""));

    request(&stream, command::READ, 0, 4096, 2 << 20);
    let got = chunks(&stream);
    assert_eq!(got.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [1, 1]);
    let mut back = vec![0; 2 << 20];
    for (_, body) in got {
        let at = usize::try_from(u64::from_be_bytes(body[..8].try_into().unwrap())).unwrap() - 4096;
        back[at..at + body.len() - 8].copy_from_slice(&body[8..]);
    }
    let mut want = pattern(SIZE);
    want[1 << 20..2 << 20].fill(0);
    assert!(back == want[4096..4096 + (2 << 20)]);
    request(&stream, command::READ, 0, 1 << 20, 1 << 20);
    assert_eq!(
        chunks(&stream),
        [(chunk::OFFSET_HOLE, [&(1_u64 << 20).to_be_bytes()[..], &(1_u32 << 20).to_be_bytes()].concat())]
    );
    request(&stream, command::READ, command::DF, 4096, 2 << 20);
    assert_eq!(chunks(&stream).len(), 1);
    request(&stream, command::READ, 0, 2_500_000, 4096);
    let failed = chunks(&stream);
    assert_eq!((failed[0].0, &failed[0].1[6..]), (chunk::ERROR_OFFSET, &2_500_096_u64.to_be_bytes()[..]));

    let status = |flags| {
        request(&stream, command::BLOCK_STATUS, flags, 0, u32::try_from(SIZE).unwrap());
        let [(kind, body)] = &chunks(&stream)[..] else { panic!() };
        assert_eq!((*kind, &body[..4]), (chunk::BLOCK_STATUS, &[0, 0, 0, 1][..]));
        body[4..].chunks(4).map(|n| u32::from_be_bytes(n.try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(status(0), [1 << 20, 0, 1 << 20, 3, 1 << 20, 0]);
    assert_eq!(status(command::REQ_ONE), [1 << 20, 0]);
}

#[test]
fn ends_when_it_is_told_to_and_cuts_clients_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = Listener::Unix(UnixListener::bind(&path).unwrap());
    let stop = AtomicBool::new(false);
    let exports = exports();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| serve(&listener, &exports, &stop));
        let clients: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
        for client in &clients {
            take::<18>(&mut &*client).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        assert_eq!(served.join().unwrap().unwrap(), 3);
        assert_eq!((&clients[0]).read(&mut [0]).unwrap(), 0);
    });
}

/// Half a connection: what was written is thrown away.
struct Hostile<'a>(&'a [u8]);

impl Read for Hostile<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Hostile<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_client_stops_or_breaks_it(
        options in prop::collection::vec((0..12_u32, prop::collection::vec(any::<u8>(), 0..40), 0..3_u32), 0..8),
        requests in prop::collection::vec((any::<u16>(), 0..9_u16, 0..4_u64 << 20, 0..5_u32 << 20), 0..8),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = 3_u32.to_be_bytes().to_vec();
        for (option, data, lie) in options {
            bytes.extend(wire::IHAVEOPT.to_be_bytes());
            bytes.extend(option.to_be_bytes());
            bytes.extend((u32::try_from(data.len()).unwrap() + lie / 2).to_be_bytes());
            bytes.extend(data);
        }
        let mut ended = Hostile(&bytes);
        while let Ok(Some(_)) = handshake::negotiate(&mut ended, &exports()) {}
        let mut bytes = vec![];
        for (flags, kind, offset, length) in requests {
            bytes.extend(0x2560_9513_u32.to_be_bytes());
            bytes.extend([flags.to_be_bytes(), kind.to_be_bytes()].concat());
            bytes.extend([0, offset, 0].map(u64::to_be_bytes)[..2].concat());
            bytes.extend(length.to_be_bytes());
        }
        bytes.extend(tail);
        for (structured, allocation) in [(false, false), (true, true)] {
            let agreed = handshake::Agreed { export: Arc::clone(&exports()[0]), structured, allocation };
            transmission::serve(BufReader::new(Hostile(&bytes)), Hostile(&[]), &agreed, 2);
        }
        let mut out = vec![];
        answer(&mut out, 1, 1, b"x").unwrap();
        prop_assert_eq!(out.len(), 21);
    }
}

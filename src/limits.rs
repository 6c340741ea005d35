//! Every bound of the server: its name, its unit, and what happens when it is hit.
//!
//! A number that limits something lives here and nowhere else, so that an operator can read one page and an engineer can
//! see how the numbers relate; the relations themselves are asserted at compile time at the end. This module never
//! computes anything at run time and imports nothing.

/// Most bytes of one request head, request line and all headers. At the limit: 431, close.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of a method; the longest registered one has 17. At the limit: 501, close.
pub const METHOD_BYTES_MAX: usize = 32;
/// Most bytes of a request target. At the limit: 414, close.
pub const REQUEST_TARGET_BYTES_MAX: usize = 8 * 1024;
/// Most header lines of one request. At the limit: 431, close.
pub const HEADERS_MAX: usize = 100;

/// Bytes of a shard's hot buffer: the most one receive brings, and so the largest frame towards a client, unless it is a
/// message that is kept until it is whole (echo, framings): then [`MESSAGE_BYTES_DEFAULT`] or what is configured.
/// 256 KiB is half of a common L2 cache; larger buffers fall out of it and cost up to twice the CPU per byte.
pub const HOT_BYTES: usize = 256 * 1024;
/// Bytes kept free in front of received payload, for frame headers and an owed control frame. A multiple of 64, so that
/// payload starts on a cache line.
pub const HEADROOM_BYTES: usize = 256;
/// Most pipes of a shard, each with two descriptors. A pipe is held only while bytes are in it. At the limit: bytes are copied.
pub const PIPES_PER_SHARD: usize = 16;
/// Bytes of a pipe, and so most of one splice. A user without privileges has 16,384 pages for all pipes by default
/// (`fs.pipe-user-pages-soft`), which is enough for 16 shards. At the limit: bytes are copied.
pub const PIPE_BYTES: usize = 256 * 1024;
/// A receive that brought so many bytes makes a stream bulk: the next ones are spliced where nobody has to see the bytes.
pub const SPLICE_FROM_BYTES: usize = 64 * 1024;
/// A splice of fewer bytes cost more than copying them.
pub const SPLICE_ENOUGH_BYTES: usize = 16 * 1024;
/// So many of those in a row, and the stream is no longer bulk.
pub const SPLICE_MEAGRE_MAX: u8 = 4;
/// Receives of bulk that are copied before a pipe is asked for again where the system has refused one: some 64 MiB.
pub const SPLICE_REST: u16 = 1024;
/// Sizes of the pooled chunks that hold blocked output, in bytes; a remainder takes the smallest that fits.
/// The middle ones hold one and four full TLS records with their overhead and headroom.
pub const CHUNK_CLASSES: [usize; 4] = [4 * 1024, 17 * 1024, 66 * 1024, HOT_BYTES + HEADROOM_BYTES];
/// Largest chunks that a shard sets aside without touching them. When the allocator gives nothing, or has no more than as many,
/// they are given back to it, so that what has to be small change (heads, answers, TLS, lines of the log) is still there; until
/// twice as much can be had again, memory counts as short and nobody is accepted.
pub const SPARE_CHUNKS: usize = 8;
/// As many of them stay, for bytes that were received, go on at once and must have their place meanwhile.
pub const SPARE_CHUNKS_LAST: usize = 2;
/// Bytes of freed chunks a shard keeps for reuse before it gives memory back to the allocator.
pub const CHUNK_CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Smallest share of buffer memory of one shard, in bytes; all shards share a quarter of memory if nothing is configured.
/// A `--buffer-memory` that gives a shard less is refused at start.
pub const BUFFER_MEMORY_MIN: usize = 4 * 1024 * 1024;

/// Most plaintext of one TLS record (RFC 8446 section 5.1).
pub const TLS_RECORD_BYTES: usize = 16 * 1024;
/// Most that one of our TLS records is longer than its plaintext: header 5, explicit nonce 8, tag 16 (TLS 1.2), or
/// header 5, type 1, tag 16 (TLS 1.3).
pub const TLS_RECORD_OVERHEAD_MAX: usize = 29;
/// Most bytes of a peer's unfinished TLS record or handshake message that are kept, and of what is said in answer to
/// them. At the limit: the session ends.
pub const TLS_BUFFERED_MAX: usize = 64 * 1024;
/// Most ciphertext to receive at once for TLS: four full records of TLS 1.3, so that a busy stream is cut between records.
pub const TLS_CIPHER_RECEIVE_BYTES: usize = 4 * (TLS_RECORD_BYTES + 5 + 1 + 16);
/// Most plaintext to receive at once that is sent as TLS: four full records, less the header of a frame.
pub const TLS_PLAIN_RECEIVE_BYTES: usize = 4 * TLS_RECORD_BYTES - 16;
/// Pieces that may wait to be sent on one TLS stream: what TLS itself answers to a peer that asks and does not read. At the
/// limit: nothing more is received from that peer until some have gone.
pub const TLS_QUEUE_MAX: usize = 8;
/// Longest file of certificates or keys, in bytes; a system's whole list of authorities has a quarter of a million. At the
/// limit: start error.
pub const PEM_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How often certificate, key and authority files are looked at for changes.
pub const TLS_RENEWAL_MS: u64 = 1_000;

/// Longest frame header of a server: two bytes, eight of length, no mask (RFC 6455 section 5.2).
pub const SERVER_HEADER_BYTES_MAX: usize = 10;
/// Longest frame header of a client: as above and four of mask.
pub const CLIENT_HEADER_BYTES_MAX: usize = 14;
/// Longest payload of a control frame (RFC 6455 section 5.5). At the limit: close 1002.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;
/// Longest reason of a close frame: a control payload less two bytes of code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;
/// Default of the largest message that is held whole (echo, framings), in bytes: few messages are longer, and it is little
/// enough for thousands of sessions to hold one. At the limit: close 1009.
pub const MESSAGE_BYTES_DEFAULT: usize = 1024 * 1024;
/// Largest `--max-message`, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Longest separator of messages, in bytes; they have a few. At the limit: 503.
pub const FRAMING_SEPARATOR_BYTES_MAX: usize = 256;
/// How deep values of JSON that are cut out of a stream may nest, a bit of memory each; parsers of clients take some hundreds.
/// At the limit: what holds them goes as a binary message.
pub const FRAMING_JSON_DEPTH_MAX: usize = 512;
/// Most messages that a session cuts out at once, which takes a third of a millisecond: others wait for that. Above: the rest is
/// cut when these have gone, in another turn. Where a receive of [`HOT_BYTES`] would hold more, the next one brings only as many
/// bytes as this, as long as messages are so short: what is left of it would take memory while it waits.
pub const FRAMING_MESSAGES_MANY: usize = 16 * 1024;

/// From accept to the first byte, of TLS or of a request, in milliseconds; a shorter `--head-timeout` holds too. At the limit:
/// close, no answer.
pub const SNIFF_TIMEOUT_MS: u64 = 3_000;
/// From accept to a complete request head, in milliseconds. At the limit: close, no answer.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;
/// From a complete head to the decision of everybody who is asked about the request, or longer where the steps that are
/// configured have more time together. At the limit: 504.
pub const ROUTE_TIMEOUT_MS: u64 = 10_000;
/// What a route has beyond the time of all its steps, for the ways between them.
pub const ROUTE_SPARE_MS: u64 = 2_000;
/// From the first try to a connected target, all addresses together. At the limit: close 1011.
pub const DIAL_TIMEOUT_MS: u64 = 10_000;
/// One address of a target; then the next is tried.
pub const DIAL_ADDRESS_TIMEOUT_MS: u64 = 3_000;
/// From our close frame to the end of the client's stream. At the limit: the socket is closed.
pub const CLOSE_TIMEOUT_MS: u64 = 5_000;
/// Bytes read and dropped while a session says goodbye, at most. At the limit: the socket is closed.
pub const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How old a session is when the system is told to find out whether its target is gone. Most handshakes that come to nothing
/// are over by then, and no dead target is found sooner than some time after.
pub const KEEP_AFTER_MS: u64 = 10_000;
/// How long a send may make no progress. At the limit: the session ends.
pub const WRITE_TIMEOUT_MS: u64 = 60_000;
/// Longest `Authorization` that is read, in bytes. At the limit: as if there were none.
pub const CREDENTIALS_BYTES_MAX: usize = 8 * 1024;
/// Default interval of pings to the client; 0 switches them off.
pub const HEARTBEAT_MS: u64 = 30_000;
/// How long after a ping a client may stay silent, however often pings are sent; 0: for ever. At the limit: close 1008.
pub const PONG_TIMEOUT_MS: u64 = 15_000;
/// How long something that was refused for want of room (a full queue or backlog) waits before it is tried again.
pub const RETRY_MS: u64 = 50;
/// How long receives may wait for memory. At the limit, and every [`RETRY_MS`] after it: the session whose send has been
/// stuck for longest ends.
pub const STARVED_TIMEOUT_MS: u64 = 500;
/// How long sessions may take to say goodbye when the server stops. At the limit: closed at once.
pub const DRAIN_TIMEOUT_MS: u64 = 10_000;
/// How long shards may take to close what is left then. At the limit: the end of the process closes it.
pub const STOP_CUT_MS: u64 = 1_000;
/// How long a shard does not accept after that failed, as when descriptors or memory are short.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Most clients that a shard takes from one listener behind an accept that was armed, that one included.
pub const ACCEPTS_PER_TURN: usize = 4;
/// Shortest time between two lines of one shard about accepts that failed; each line says how many did.
pub const ACCEPT_LOG_MS: u64 = 1_000;
/// How long the end of the process waits for a line to be taken by standard error. At the limit: it is lost.
pub const LOG_STOP_MS: u64 = 1_000;

/// Most addresses of one target that are tried.
pub const TARGET_ADDRESSES_MAX: usize = 8;
/// Sessions that may be before their first complete head, per shard. At the limit: the oldest is dropped.
pub const PENDING_HEADS_MAX: usize = 1024;
/// They may be one in so many of a shard's places, so that strangers who say nothing leave the others to clients. At the limit:
/// the oldest is dropped if it has had [`SHED_GRACE_MS`].
pub const PENDING_HEADS_SHARE: usize = 4;
/// But so many may be there in any case.
pub const PENDING_HEADS_MIN: usize = 8;
/// How long a client that was accepted has for its head, and one that has had its last answer to go, before others who
/// wait for a place may have its own: two trips around the world and back, which is what a handshake of TLS takes.
pub const SHED_GRACE_MS: u64 = 500;
/// Connections between two requests that are looked at, whenever a place is wanted or may be, until one is found on which nothing has
/// come. At the limit: nobody is told to go until the shard has read some of that.
pub const SHED_LOOKS_MAX: usize = 64;
/// Shortest time between two lines that all places are taken.
pub const FULL_LOG_MS: u64 = 10_000;
/// Longest time after which a client that is refused with 503 is told to come again, in seconds; the shortest is one.
pub const RETRY_AFTER_S_MAX: u64 = 5;
/// Default of the most sessions of the process; limits of the system may make it less. At the limit: accepts
/// pause, unless somebody is there who has not come to anything yet or is between two requests: that one makes room.
pub const SESSIONS_DEFAULT: usize = 100_000;
/// What one session may take beside its buffers, in bytes, where a limit of addresses or data bounds the process: half of what it
/// leaves is for sessions. The first is for one without TLS, the second for one with.
pub const SESSION_BYTES: [u64; 2] = [16 * 1024, 64 * 1024];
/// Where limits of the system leave fewer sessions than this, the start says so even if nobody asked for a number.
pub const SESSIONS_AMPLE: usize = 4096;
/// A wrapped program that has gone is started again at the next whole step of so many milliseconds, as websockify does.
pub const WRAP_RESPAWN_LOOK_MS: u64 = 1000;
/// Unless the mean of its last three starts is less than this ago.
pub const WRAP_RESPAWN_MEAN_MS: u64 = 10_000;
/// How long the warden of a wrapped program may take to say that it runs.
pub const WRAP_START_MS: u64 = 10_000;
/// How long a wrapped program has at least, when the server stops, between SIGTERM and SIGKILL.
pub const WRAP_GRACE_MS_MIN: u64 = 1000;
/// How long it has when its server was killed.
pub const WRAP_ORPHAN_GRACE_MS: u64 = 5000;
/// How long processes that were killed are waited for; what is left then is somebody else's to end.
pub const WRAP_KILL_MS: u64 = 2000;
/// Entries of a directory that are looked at for what killed servers have left. At the limit: the rest stays for another start.
pub const WRAP_STALE_LOOKS_MAX: usize = 4096;
/// Most words that wait for whoever keeps a wrapped program. At the limit: those who speak wait.
pub const WRAP_WORDS_MAX: usize = 64;
/// Longest line between a server and a warden, in bytes.
pub const WRAP_LINE_BYTES_MAX: usize = 4096;
/// Descriptors kept back for listeners, logs, helpers and files when sessions are counted out of the descriptor limit.
pub const DESCRIPTORS_RESERVED: usize = 64;
/// Descriptors kept back for each shard besides: its ring or poller, the two ends of its waker, and of each pipe.
pub const DESCRIPTORS_PER_SHARD: usize = 3 + 2 * PIPES_PER_SHARD;
/// Most descriptors of one session: its client, and its target or a file.
pub const DESCRIPTORS_PER_SESSION: usize = 2;
/// Completions handled between two looks at the kernel, at most; then timers and new events get their turn.
pub const COMPLETIONS_PER_TURN: usize = 512;
/// Bytes received between two looks at the kernel, at most (a look costs a tenth of a microsecond, this much receiving
/// a quarter of a millisecond). Work on the messages in them is charged as more of them: see [`FRAMING_MESSAGE_COST`] and
/// [`STUDIED_BYTE_COST`]. At the limit: a look, and if it was work that took the rest, all who are ready then go first, but not
/// twice running. The last piece of work is always done whole; the longest, a receive of nothing but small frames or of JSON, takes
/// one millisecond or, where all are pings, not quite two. What TLS costs is not charged.
pub const TURN_BYTES: usize = 1024 * 1024;
/// What a message costs that is cut out of what came, in received bytes: some 20 nanoseconds.
pub const FRAMING_MESSAGE_COST: usize = 64;
/// What a byte costs that is looked at by itself, in received bytes: 4 nanoseconds. Such are those of JSON, and those of clients'
/// frames that are not payload: each frame has six of them at least.
pub const STUDIED_BYTE_COST: usize = 16;
/// Work that costs less, in received bytes, is not charged: it takes a microsecond, as a call does, and
/// [`COMPLETIONS_PER_TURN`] bounds how often.
pub const CHARGE_BYTES_MIN: usize = 4 * 1024;
/// Readiness events taken from the kernel in one turn, at most.
pub const EVENTS_PER_TURN: usize = 1024;
/// Most shards, whatever the machine has.
pub const SHARDS_MAX: usize = 256;

/// Most threads that look names up. They come as they are needed, one for each name that is being looked up. At the limit: names
/// wait, but for those that this machine knows by itself.
pub const NAME_THREADS_MAX: usize = 64;
/// Most threads besides, for `localhost` and the names in `/etc/hosts`, when those are taken by names that are stuck.
pub const NAME_LOCAL_THREADS_MAX: usize = 4;
/// How long a thread that looks names up waits for another one. Then it ends.
pub const NAME_IDLE_MS: u64 = 10_000;
/// From the question for a name to its answer, the wait for a thread included. At the limit: there is none, and nobody waits
/// any more until the system has given one. Resolvers ask their next server after five seconds, so this is longer.
pub const NAME_TIMEOUT_MS: u64 = 8_000;
/// Longest that the addresses of a name, or that it has none, are used again, in milliseconds; less if `--token-cache` is less.
pub const NAME_CACHE_MS: u64 = 1_000;
/// Most names whose answers are kept. At the limit: all are forgotten.
pub const NAME_CACHE_MAX: usize = 1024;
/// Sessions that may wait for names, those that wait for the same one included. At the limit: close 1011.
pub const NAME_WAITERS_MAX: usize = 64 * 1024;
/// Most bytes of `/etc/hosts` that are looked at, when it matters which names are in there. At the limit: the others count as
/// foreign.
pub const NAMES_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Threads for files.
pub const HELPER_THREADS: usize = 4;
/// Jobs of one kind that may wait for a helper. At the limit: 503, or close 1011 behind a 101.
pub const HELPER_QUEUE_MAX: usize = 1024;
/// Most threads that check passwords; there are no more than half the cores.
pub const PASSWORD_THREADS_MAX: usize = 4;
/// Passwords that may wait to be checked, and no more than can be checked in [`PASSWORD_WAIT_MS`]. At the limit: 503.
pub const PASSWORD_QUEUE_MAX: usize = 64;
/// From a request to the decision about its password, its hash included. At the limit: the route's may still hold.
pub const PASSWORD_MS: u64 = 5_000;
/// From a request to the check of its password. At the limit: 503; nor is one queued that would have to wait longer.
pub const PASSWORD_WAIT_MS: u64 = 3_000;
/// Largest password file, in bytes. At the limit: start error, or what was read before stays.
pub const PASSWORD_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Longest password, in bytes: what hashing it costs grows with its length. At the limit: it is wrong.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// Most right passwords that are remembered, as keyed digests. At the limit: all are forgotten.
pub const PASSWORD_CACHE_MAX: usize = 1024;
/// How long a right password is remembered.
pub const PASSWORD_CACHE_MS: u64 = 60_000;
/// Highest cost of bcrypt that is taken: about a second. At the limit: the user is ignored, with a line in the log.
pub const BCRYPT_COST_MAX: u32 = 13;
/// Most rounds of SHA-crypt that are taken. At the limit: as for bcrypt.
pub const SHA_CRYPT_ROUNDS_MAX: u32 = 1_000_000;
/// Threads that ask a ForwardAuth service, and so the most requests that it is asked about at once.
pub const FORWARD_THREADS: usize = 8;
/// From a request to the answer of a ForwardAuth service, the wait for a thread included. At the limit: 503.
pub const FORWARD_MS: u64 = 5_000;
/// Most bytes of the answer of a ForwardAuth service, head and body each. At the limit: the rest of a body is left; 503 for a
/// head.
pub const FORWARD_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A file that was changed more recently than this is read again, for its time may not show the next change, in
/// milliseconds.
pub const FILE_SETTLED_MS: u64 = 50;
/// Questions that a plugin is asked at once. At the limit: they wait.
pub const PLUGIN_IN_FLIGHT_MAX: usize = 64;
/// Questions that may wait for a plugin. At the limit: 503.
pub const PLUGIN_QUEUE_MAX: usize = 1024;
/// From a question to a plugin's answer, the wait for its turn included. At the limit: 503.
pub const PLUGIN_ANSWER_MS: u64 = 5_000;
/// How long a plugin may answer nothing at all when an answer is overdue. At the limit: it is killed and started again.
pub const PLUGIN_SILENCE_MS: u64 = 10_000;
/// From the start of a plugin to its being ready. At the limit: start error, or killed and started again.
pub const PLUGIN_START_MS: u64 = 10_000;
/// From the end of a plugin's input to SIGKILL; SIGTERM comes half-way.
pub const PLUGIN_STOP_MS: u64 = 2_000;
/// From the end of a plugin that was not asked to end to its next start; doubled each time.
pub const PLUGIN_RESTART_MIN_MS: u64 = 100;
/// Longest time between two starts of a plugin.
pub const PLUGIN_RESTART_MAX_MS: u64 = 30_000;
/// Longest line from or to a plugin, in bytes. At the limit: 431 for a question, ignored and logged for an answer.
pub const PLUGIN_LINE_BYTES_MAX: usize = 64 * 1024;
/// Lines of a plugin that are logged in a second. At the limit: counted, but for why a process ended.
pub const PLUGIN_LOG_LINES: u32 = 20;
/// Most secrets of one request that are masked in what a plugin writes. At the limit: the others are not.
pub const PLUGIN_SECRETS_MAX: usize = 128;
/// Most that is read of what a plugin has said before it ended, in bytes: what a pipe holds. At the limit: the rest is lost.
pub const PLUGIN_LEFT_BYTES_MAX: usize = 64 * 1024;
/// A process of a plugin that lived this long starts its successor without delay.
pub const PLUGIN_SOUND_MS: u64 = 10_000;
/// Questions of a plugin that were not answered in time and are not answered yet. Beyond: the process is replaced.
pub const PLUGIN_HUNG_MAX: usize = PLUGIN_IN_FLIGHT_MAX / 2;
/// How often the time for an answer may pass for one question. At the limit: the process is replaced.
pub const PLUGIN_HUNG_TIMES: u32 = 6;
/// Most headers of a plugin's answer. At the limit: 503.
pub const PLUGIN_HEADERS_MAX: usize = 16;
/// Most labels of a plugin's answer. At the limit: 503.
pub const PLUGIN_LABELS_MAX: usize = 8;
/// Longest name and longest value of a label, in bytes. At the limit: 503.
pub const PLUGIN_LABEL_BYTES_MAX: usize = 128;
/// Most bytes of a static file read at once by a helper.
pub const FILE_READ_BYTES: usize = 256 * 1024;
/// Most names in one directory listing. At the limit: the rest is left out, and the page says so.
pub const LISTING_ENTRIES_MAX: usize = 10_000;

/// Shortest secret that is redacted wherever it stands in what is logged, in bytes. What is shorter is a part of everything:
/// such a token is redacted as a word of its own, and no other secret is.
pub const SECRET_BYTES_MIN: usize = 3;
/// Longest token, in bytes. At the limit: 404, as for one that is unknown.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Default of how long one look-up of a token may take, its wait for a helper included, in milliseconds. At the limit: 503.
pub const TOKEN_TIMEOUT_MS: u64 = 2_000;
/// Default of how long what a service said of a token is kept, in milliseconds; 0 switches that off.
pub const TOKEN_CACHE_MS: u64 = 5_000;
/// How long it is kept that a service does not know a token, in milliseconds, if its answers are kept at all.
pub const TOKEN_CACHE_UNKNOWN_MS: u64 = 1_000;
/// Answers of a service that are kept, of known tokens, and of unknown ones. At the limit: those of that kind are forgotten.
pub const TOKEN_CACHE_MAX: usize = 8192;
/// Target, headers and reason of an answer about a token that is kept, in bytes together. A longer one is not kept.
pub const TOKEN_CACHE_ANSWER_BYTES_MAX: usize = 4 * 1024;
/// Tokens that may wait to be looked up in one service. At the limit: 503.
pub const LOOKUP_QUEUE_MAX: usize = 256;
/// Requests that may wait for look-ups of one service, those for the same token included. At the limit: 503.
pub const LOOKUP_WAITERS_MAX: usize = 4096;
/// Threads that look tokens up in files, directories and keys.
pub const LOOKUP_THREADS: usize = 4;
/// Threads, and so connections, that look tokens up in Redis, which answers at once or not at all.
pub const REDIS_THREADS: usize = 4;
/// Threads that ask a web service, which may think a while.
pub const HTTP_THREADS: usize = 16;
/// Of the time for a question to a service, one part in so many may pass before it is asked; the rest is for the answer. A
/// service that is asked for more than it can take would otherwise have what little time its queue leaves, and be asked in vain
/// each time. At the limit: 503.
pub const SERVICE_QUEUE_PART: u32 = 2;
/// How long a service that could not be reached, or that left all it was asked at once without an answer, is not tried again, in
/// milliseconds. Meanwhile: 503 at once.
pub const SERVICE_REST_MS: u64 = 1_000;
/// Longest answer of a service about a token, in bytes. At the limit: 503.
pub const SERVICE_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Largest file of tokens, all files of a directory together, in bytes. At the limit: what was read before stays.
pub const TOKEN_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most files of a directory of tokens. At the limit: what was read before stays.
pub const TOKEN_FILES_MAX: usize = 10_000;
/// How long a source of tokens is looked through when a server starts, in milliseconds. At the limit: the rest is not looked at.
pub const TOKEN_LOOK_START_MS: u64 = 250;
/// And by `--check`. At the limit: the same, and that is said.
pub const TOKEN_LOOK_CHECK_MS: u64 = 60_000;
/// Largest file of a key for tokens, or of one target, in bytes. At the limit: 503.
pub const TOKEN_SMALL_FILE_BYTES_MAX: usize = 64 * 1024;
/// Shortest time between two lines about trouble with one source of tokens or ForwardAuth service, in milliseconds.
pub const TROUBLE_LOG_MS: u64 = 5_000;
/// Default of the most bytes of all recordings that may wait to be written. At the limit: dropped, counted and marked.
pub const RECORD_BUFFER_BYTES_DEFAULT: usize = 64 * 1024 * 1024;
/// Smallest `--record-buffer`, in bytes: a few receives.
pub const RECORD_BUFFER_BYTES_MIN: usize = 1024 * 1024;
/// Smallest `--record-size`, in bytes.
pub const RECORD_FILE_BYTES_MIN: usize = 64 * 1024;
/// Most bytes of one entry of a recording. A longer message becomes several entries.
pub const RECORD_ENTRY_BYTES_MAX: usize = 1024 * 1024;
/// Most pieces of messages that are shown at once to those who watch. At the limit: what was noted is shown, and then the
/// rest.
pub const TAP_PIECES_MAX: usize = 16 * 1024;
/// What a recording, or a receive that waits to be written to one, counts for besides its bytes.
pub const RECORD_OVERHEAD_BYTES: usize = 512;
/// Names that are tried for a recording whose own is taken. At the limit: as many more with the number of the connection and
/// the time in them; then the session is not recorded.
pub const RECORD_NAMES_MAX: u32 = 99;
/// How long the end of the process waits for recordings to be written. At the limit: what is left is lost.
pub const RECORD_STOP_MS: u64 = 5_000;
/// Tokens of `--traffic` that may wait to be written. At the limit: dropped.
pub const TRAFFIC_QUEUE_MAX: usize = 4096;

/// Log lines in a second of what clients do, for each shard, when they have used up [`LOG_LINES_BURST`]. At the limit: counted,
/// and their number is told each second.
pub const LOG_LINES_PER_SECOND: u64 = 200;
/// Lines of what clients do that may come at once: two thousand clients that come in on one shard, as in the morning, and leave
/// with their gateway's network.
pub const LOG_LINES_BURST: u64 = 4_000;
/// How many of those are kept for sessions: nobody who is refused takes away the lines of those who were let in.
pub const LOG_LINES_KEPT: u64 = 2_000;
/// The same for what is only told of with `--verbose`, which is not meant to lose anything but a flood.
pub const LOG_DETAILS_PER_SECOND: u64 = 2_000;
/// See [`LOG_DETAILS_PER_SECOND`].
pub const LOG_DETAILS_BURST: u64 = 4_000;
/// How long lines that were not said are counted before their number is told.
pub const LOG_SUPPRESSED_MS: u64 = 1_000;
/// Log lines that may wait for the log thread besides those of shards. At the limit: dropped and counted.
pub const LOG_QUEUE_MAX: usize = 4096;
/// The same for each shard: all that its clients can have it say at once, so that what is too much is left out by shards,
/// which keep the lines that matter, and not by the queue, which cannot tell them apart.
pub const LOG_QUEUE_PER_SHARD: usize = (LOG_LINES_BURST + LOG_DETAILS_BURST) as usize;
/// Bytes of log lines that are written at once, about. At the limit: what waits is the next write.
pub const LOG_WRITE_BYTES: usize = 1024 * 1024;
/// Bytes of log lines that may wait for a descriptor whose reader is slow, besides those of shards. At the limit: dropped and
/// counted.
pub const LOG_OUTLET_BYTES: usize = LOG_WRITE_BYTES;
/// The same for each shard: [`LOG_QUEUE_PER_SHARD`] lines as they usually are, of a quarter of a KiB.
pub const LOG_OUTLET_PER_SHARD: usize = LOG_QUEUE_PER_SHARD * 256;
/// Longest syslog message, in bytes, header included; the rest is cut. RFC 5424 section 6.1 asks receivers for a quarter of
/// it, and local ones take more.
pub const SYSLOG_BYTES_MAX: usize = 8 * 1024;
/// Longest name of a program and of a host in a syslog message, in bytes (RFC 5424 section 6).
pub const SYSLOG_IDENT_BYTES_MAX: usize = 48;
/// See [`SYSLOG_IDENT_BYTES_MAX`].
pub const SYSLOG_HOST_BYTES_MAX: usize = 255;
/// Longest field of a log line that came from outside, in bytes; the rest is cut.
pub const LOG_FIELD_BYTES_MAX: usize = 512;

/// Largest `--max-sessions`: what the slots of a shard can count.
pub const SESSIONS_MAX: usize = 1 << 24;
/// Longest deadline or interval that can be configured, in milliseconds: a week, far inside what the timers can hold.
pub const DEADLINE_MS_MAX: u64 = 7 * 24 * 3_600 * 1_000;
/// Most `--subprotocol` names.
pub const SUBPROTOCOLS_MAX: usize = 16;
/// Longest name of a sub-protocol, in bytes, so that the head of an answer stays small.
pub const SUBPROTOCOL_BYTES_MAX: usize = 128;
/// Longest `--server-header`, in bytes, so that the head of an answer stays small.
pub const SERVER_NAME_BYTES_MAX: usize = 128;
/// Most `--auth-plugin`s.
pub const GUARDS_MAX: usize = 16;
/// Longest file that the `@FILE` of `--auth-source`, `--token-source` and `--key-password` is read from, in bytes. At the limit: start error.
pub const SOURCE_FILE_BYTES_MAX: u64 = 64 * 1024;
/// How long the first line of such a file is waited for, if it is a pipe. At the limit: start error.
pub const SOURCE_FILE_WAIT_MS: u64 = 60_000;
/// Longest host of a listen or target word, in bytes: a name of the DNS (RFC 1035 section 2.3.4). At the limit: usage error.
pub const HOST_BYTES_MAX: usize = 255;
/// Longest name of a service, in bytes (RFC 6335 section 5.1). At the limit: usage error.
pub const SERVICE_BYTES_MAX: usize = 15;
/// Longest path or abstract name of a Unix socket, in bytes: `sun_path` of Linux less its final NUL.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Permission bits of a listening Unix socket if nothing else is configured: its owner only.
pub const UNIX_LISTEN_MODE_DEFAULT: u32 = 0o600;

/// Length of the listen queue asked of the kernel (it may hold less: `net.core.somaxconn`).
pub const BACKLOG: i32 = 4096;

const _: () = {
    assert!(HEADROOM_BYTES.is_multiple_of(64));
    assert!(HEADROOM_BYTES >= SERVER_HEADER_BYTES_MAX + 2 + CONTROL_PAYLOAD_BYTES_MAX);
    assert!(REQUEST_TARGET_BYTES_MAX < HEAD_BYTES_MAX);
    assert!(HEAD_BYTES_MAX <= u16::MAX as usize, "offsets within a head are kept in 16 bits");
    assert!(HEAD_BYTES_MAX <= CHUNK_CLASSES[1], "a split head is kept in one chunk");
    assert!(CHUNK_CLASSES[3] >= HOT_BYTES + HEADROOM_BYTES, "whatever a receive brought can be kept");
    assert!(BUFFER_MEMORY_MIN >= 4 * CHUNK_CLASSES[3]);
    assert!(TLS_RECORD_BYTES + TLS_RECORD_OVERHEAD_MAX + HEADROOM_BYTES <= CHUNK_CLASSES[1]);
    assert!(TLS_BUFFERED_MAX <= CHUNK_CLASSES[2]);
    assert!(TLS_CIPHER_RECEIVE_BYTES + HEADROOM_BYTES <= CHUNK_CLASSES[2]);
    assert!(TLS_PLAIN_RECEIVE_BYTES + SERVER_HEADER_BYTES_MAX <= 4 * TLS_RECORD_BYTES);
    assert!(TLS_PLAIN_RECEIVE_BYTES + 6 * TLS_RECORD_OVERHEAD_MAX + HEADROOM_BYTES <= CHUNK_CLASSES[2]);
    // Memory that grows by doubling, and pieces of two words each.
    assert!(RECORD_BUFFER_BYTES_MIN >= 2 * HOT_BYTES + 16 * TAP_PIECES_MAX + 4 * RECORD_OVERHEAD_BYTES);
    assert!(HOT_BYTES.is_multiple_of(FRAMING_MESSAGES_MANY));
    assert!(FRAMING_MESSAGES_MANY * FRAMING_MESSAGE_COST >= TURN_BYTES, "who cuts so many ends the turn");
    assert!(HOT_BYTES * STUDIED_BYTE_COST >= TURN_BYTES, "so does who looks at each byte of a receive");
    assert!(RECORD_BUFFER_BYTES_MIN <= RECORD_BUFFER_BYTES_DEFAULT);
    assert!(PIPE_BYTES <= HOT_BYTES, "whatever is in a pipe has been allowed for as a receive");
    assert!(SPLICE_ENOUGH_BYTES < SPLICE_FROM_BYTES && SPLICE_FROM_BYTES <= PIPE_BYTES);
    assert!(DIAL_ADDRESS_TIMEOUT_MS < DIAL_TIMEOUT_MS && NAME_TIMEOUT_MS < DIAL_TIMEOUT_MS);
    assert!(FRAMING_JSON_DEPTH_MAX.is_multiple_of(64) && FRAMING_SEPARATOR_BYTES_MAX <= u16::MAX as usize);
    assert!(MESSAGE_BYTES_DEFAULT <= MESSAGE_BYTES_MAX);
    assert!(SESSIONS_DEFAULT <= SESSIONS_MAX);
    assert!(WRITE_TIMEOUT_MS <= DEADLINE_MS_MAX && HEARTBEAT_MS <= DEADLINE_MS_MAX);
    assert!(PONG_TIMEOUT_MS <= DEADLINE_MS_MAX);
    assert!(FORWARD_MS < ROUTE_TIMEOUT_MS);
    assert!(PASSWORD_WAIT_MS < ROUTE_TIMEOUT_MS);
    assert!(PLUGIN_ANSWER_MS < ROUTE_TIMEOUT_MS && PLUGIN_ANSWER_MS < PLUGIN_SILENCE_MS);
    assert!(HEAD_BYTES_MAX < PLUGIN_LINE_BYTES_MAX);
    assert!(SNIFF_TIMEOUT_MS <= HEAD_TIMEOUT_MS);
    assert!(CLOSE_TIMEOUT_MS <= DRAIN_TIMEOUT_MS);
    assert!(LOG_LINES_KEPT < LOG_LINES_BURST);
    assert!(TOKEN_TIMEOUT_MS < ROUTE_TIMEOUT_MS && TOKEN_BYTES_MAX < HEAD_BYTES_MAX);
    assert!(TOKEN_CACHE_UNKNOWN_MS <= TOKEN_CACHE_MS);
};

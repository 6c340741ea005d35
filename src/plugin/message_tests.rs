//! Tables for the protocol: what a plugin is told, and every answer that it may and may not give.

use super::*;
use crate::route::Step;
use crate::route::token::Token;

fn request(headers: &[(&str, &[u8])]) -> Request {
    Request {
        method: "GET".into(),
        path: "/ws%20x".into(),
        query: Some("token=a%2Fb+c&x=1&x=2&flag&=e&bad=%zz".into()),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        client: Some("[::ffff:10.0.0.7]:4242".parse().unwrap()),
        tls: Some(("TLSv1.3", "TLS_AES_128_GCM_SHA256")),
        certified: Some("alice".into()),
    }
}

fn asked(request: Request, target: Option<Target>) -> Value {
    let token = Some(Token::new("a/b c"));
    let question = Question {
        step: Step::Lookup,
        request: request.into(),
        token,
        target: target.map(Arc::new),
        budget: std::time::Duration::from_secs(60),
    };
    let line = super::question(7, Kind::Token, By::Request, &question).unwrap();
    assert!(line.starts_with("{\"id\":7,") && !line.contains('\n'), "{line}");
    serde_json::from_str(&line).unwrap()
}

#[test]
fn a_plugin_is_told_everything() {
    let headers: [(&str, &[u8]); 5] = [
        ("Host", b"desk"),
        ("X-Odd", b"caf\xe9 \"q\""),
        ("Cookie", b"a=1; b = two=2 ;c"),
        ("cookie", b"a=other; d="),
        ("Accept", b"*/*"),
    ];
    let told = asked(request(&headers), Target::parse("desk.test:5901").ok());
    assert_eq!(told["kind"], "token");
    assert_eq!(told["path"], "/ws%20x");
    assert_eq!(
        told["params"],
        json!({"token": ["a/b c"], "x": ["1", "2"], "flag": [""], "": ["e"], "bad": ["%zz"]})
    );
    assert_eq!(told["headers"][1], json!(["X-Odd", "caf\u{e9} \"q\""]));
    assert_eq!(told["cookies"], json!({"a": "1", "b": "two=2", "d": ""}));
    assert_eq!(told["client"], json!({"ip": "10.0.0.7", "port": 4242}));
    assert_eq!(told["tls"], json!({"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "cn": "alice"}));
    assert_eq!(
        (&told["token"], &told["target"]),
        (&json!("a/b c"), &json!({"host": "desk.test", "port": 5901}))
    );
    let bare = Request { client: None, tls: None, query: None, ..request(&[]) };
    let told = asked(bare, Target::parse_unix(std::ffi::OsStr::new("/run/vnc")));
    assert_eq!((&told["client"], &told["tls"], &told["query"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(told["target"], json!({"unix": "/run/vnc"}));
}

#[test]
fn who_answers_by_the_token_is_told_it_alone() {
    let question = Question {
        step: Step::Lookup,
        request: request(&[("Cookie", b"a=1")]).into(),
        token: Some(Token::new("a/\"b")),
        target: None,
        budget: std::time::Duration::from_secs(60),
    };
    let line = super::question(7, Kind::Token, By::Token, &question);
    assert_eq!(line.as_deref(), Some(r#"{"id":7,"kind":"token","token":"a/\"b"}"#));
}

#[test]
fn what_a_plugin_answers_by() {
    for (line, by) in [
        (r#"{"ready":true}"#, By::Request),
        (r#"{"ready":true,"by":null}"#, By::Request),
        (r#"{"by":"request","ready":true}"#, By::Request),
        (r#"{"ready":true,"by":"token"}"#, By::Token),
    ] {
        assert_eq!(read(line.as_bytes()), Ok(Line::Ready(by)), "{line}");
    }
    for line in [r#"{"ready":true,"by":"cookie"}"#, r#"{"ready":true,"by":["token"]}"#] {
        let Ok(Line::Unfit(why)) = read(line.as_bytes()) else { panic!("{line}") };
        assert!(why.contains("\"by\" is \"token\" or \"request\""), "{why}");
    }
    // One client's offer is not another one's.
    let request = request(&[("Sec-WebSocket-Protocol", b"chat")]);
    let answer = json!({"allow": {"target": "h:1", "subprotocol": "chat"}}).as_object().cloned().unwrap();
    assert!(judge(Kind::Token, By::Request, &request, answer.clone()).unwrap().is_ok());
    let told = judge(Kind::Token, By::Token, &request, answer).unwrap_err();
    assert!(told.contains("sub-protocol"), "{told}");
}

#[test]
fn nobody_tells_a_plugin_who_he_is() {
    let forged = [
        "SSL_CLIENT_S_DN_CN",
        "ssl_client_s_dn_cn",
        "SSL-Client-S-DN-CN",
        "Ssl_Client-S_Dn-Cn",
        "HTTP_SSL_CLIENT_S_DN_CN",
        "SSL_CLIENT_VERIFY",
        "X-SSL-Client-CN",
        "X-Forwarded-User",
        "X_FORWARDED_USER",
        "x-forwarded_user",
        "Remote-User",
        "REMOTE_USER",
        "HTTP_REMOTE_USER",
        "X-Remote-User",
        "X-Auth-Request-Email",
        "X-Client-Cert-DN",
        "X-Forwarded-Client-Cert",
        "Client-Cert",
    ];
    let mut headers: Vec<(&str, &[u8])> = forged.iter().map(|name| (*name, b"root".as_slice())).collect();
    headers.push(("X-Forwarded-For", b"10.0.0.1"));
    headers.push(("User-Agent", b"curl"));
    let told = asked(request(&headers), None);
    assert_eq!(told["headers"], json!([["X-Forwarded-For", "10.0.0.1"], ["User-Agent", "curl"]]));
    assert_eq!(told["tls"]["cn"], "alice");
}

#[test]
fn a_question_that_is_too_long_is_not_asked() {
    let long = vec![0xe9; PLUGIN_LINE_BYTES_MAX / 2];
    let request = request(&[("X", &long)]).into();
    let question = Question {
        step: Step::Lookup,
        request,
        token: None,
        target: None,
        budget: std::time::Duration::from_secs(60),
    };
    assert_eq!(super::question(1, Kind::Auth, By::Request, &question), None);
}

fn said(kind: Kind, answer: &str) -> Result<Answer, String> {
    let request = request(&[("Sec-WebSocket-Protocol", b"binary, chat")]);
    match read(format!("{{\"id\":1,{answer}}}").as_bytes())? {
        Line::Answer(1, said) => judge(kind, By::Request, &request, said),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_lets_a_request_pass() {
    let full = r#""allow":{"target":"[::1]:5901","framing":"binary","subprotocol":"chat","headers":[["X-Desk","7"]],
        "labels":{"user":"me"}}"#;
    let pass = said(Kind::Token, full).unwrap().unwrap();
    assert_eq!(pass.target.unwrap().to_string(), "[::1]:5901");
    assert_eq!(pass.subprotocol.as_deref(), Some("chat"));
    assert_eq!(pass.headers, [("X-Desk".into(), "7".into())]);
    assert_eq!(pass.labels, [("user".into(), "me".into())]);
    assert_eq!(said(Kind::Auth, r#""allow":{}"#), Ok(Ok(Pass::default())));
    assert_eq!(said(Kind::Auth, r#""allow":{"target":null,"labels":null}"#), Ok(Ok(Pass::default())));
    // The words of all sources, blanks included.
    for unix in ["unix:/run/vnc", "unix_socket:/run/vnc", " unix_socket: /run/vnc"] {
        let pass = said(Kind::Token, &format!(r#""allow":{{"target":"{unix}"}}"#)).unwrap().unwrap();
        assert_eq!(*pass.target.unwrap(), Target::Unix("/run/vnc".into()));
    }
    for (framing, config, expected) in [
        ("\"binary\"", "null", Some(Framing::Binary)),
        ("\"json\"", "null", Some(Framing::Json { trims: false })),
        ("\"newline\"", "\"lf\"", Some(Framing::Marked { mark: b"\n"[..].into(), text: true })),
        ("\"separator\"", r#""\\x00""#, Some(Framing::Marked { mark: b"\0"[..].into(), text: false })),
        ("null", "null", None),
    ] {
        let answer = format!(r#""allow":{{"framing_config":{config},"framing":{framing}}}"#);
        assert_eq!(said(Kind::Auth, &answer).unwrap().unwrap().framing, expected, "{answer}");
    }
    let object = said(Kind::Auth, r#""allow":{"headers":{"X-Desk":"7"}}"#).unwrap().unwrap();
    assert_eq!(object.headers, [("X-Desk".into(), "7".into())]);
}

#[test]
fn what_refuses_a_request() {
    for (kind, answer, status, reason) in [
        (Kind::Token, r#""deny":{}"#, 404, "Token not found"),
        (Kind::Auth, r#""deny":{}"#, 403, "Forbidden"),
        (
            Kind::Auth,
            r#""deny":{"status":401,"headers":[["WWW-Authenticate","Bearer"]]}"#,
            401,
            "Unauthorized",
        ),
        (Kind::Auth, r#""deny":{"status":302,"headers":{"Location":"https://login"}}"#, 302, "Found"),
        (Kind::Auth, r#""deny":{"status":418,"reason":"No tea"}"#, 418, "No tea"),
        (Kind::Token, r#""deny":{"reason":"Expired"}"#, 404, "Expired"),
    ] {
        let refusal = said(kind, answer).unwrap().unwrap_err();
        assert_eq!((refusal.status(), refusal.reason()), (status, reason), "{answer}");
    }
}

#[test]
fn a_refusal_stays_one_whatever_it_says_of_itself() {
    let own = OWN.iter().chain(&["Sec-WebSocket-Accept", "CONTENT-TYPE"]);
    let mut pairs: Vec<_> = own.map(|name| json!([name, "0"])).collect();
    pairs.insert(3, json!(["WWW-Authenticate", "Basic"]));
    pairs.push(json!(["X-Why", "no pass"]));
    // Only what is said counts.
    pairs.extend((2..PLUGIN_HEADERS_MAX).map(|number| json!([format!("x{number}"), ""])));
    let answer = format!(r#""deny":{{"status":401,"headers":{}}}"#, Value::from(pairs));
    let refusal = said(Kind::Auth, &answer).unwrap().unwrap_err();
    assert_eq!(refusal.status(), 401);
    let names: Vec<_> = refusal.headers().iter().map(|(name, _)| &**name).collect();
    assert_eq!((&names[..2], names.len()), (&["WWW-Authenticate", "X-Why"][..], PLUGIN_HEADERS_MAX));
    let broken =
        said(Kind::Auth, r#""deny":{"status":401,"headers":{"Server":"me","X Y":"z"}}"#).unwrap_err();
    assert!(broken.contains("cannot be called \"X Y\""), "{broken}");
}

#[test]
fn what_is_repeated_is_as_the_plugin_meant_it() {
    // A secret in it is found only so.
    for (answer, part) in [
        (r#""allow":{"framing":"a\"b\\c"}"#, r#"framing "a"b\c" is not known"#),
        (r#""allow":{"target":"a\"b\\c"}"#, r#""a"b\c" is no target"#),
        (r#""allow":{"a\"b\\c":1}"#, r#"no member "a"b\c""#),
    ] {
        let told = said(Kind::Auth, answer).unwrap_err();
        assert!(told.contains(part), "{answer}: {told}");
    }
}

#[test]
fn what_is_no_answer() {
    let labels: Vec<String> = (0..=PLUGIN_LABELS_MAX).map(|n| format!("\"l{n}\":\"\"")).collect();
    let headers: Vec<String> = (0..=PLUGIN_HEADERS_MAX).map(|n| format!("\"x{n}\":\"\"")).collect();
    let long = "x".repeat(PLUGIN_LABEL_BYTES_MAX + 1);
    for (kind, answer, part) in [
        (Kind::Auth, r#""allow":true"#.to_owned(), "exactly one of"),
        (Kind::Auth, r#""allow":{},"deny":{}"#.into(), "exactly one of"),
        (Kind::Auth, r#""Allow":{}"#.into(), "exactly one of"),
        (Kind::Auth, r#""error":"the database is away""#.into(), "the database is away"),
        (Kind::Token, r#""allow":{}"#.into(), "without a target"),
        (Kind::Token, r#""allow":{"target":"nowhere"}"#.into(), "is no target"),
        (Kind::Token, r#""allow":{"target":"unix:"}"#.into(), "is no target"),
        (Kind::Token, r#""allow":{"target":7}"#.into(), "is no text"),
        (
            Kind::Auth,
            r#""allow":{"framing":"base64"}"#.into(),
            "framing \"base64\" is not known; there are binary,",
        ),
        (
            Kind::Auth,
            r#""allow":{"framing":"newline","framing_config":"x"}"#.into(),
            "as \"x\"; write crlf, lfcr",
        ),
        (Kind::Auth, r#""allow":{"framing":"separator"}"#.into(), "\"separator\" needs a \"framing_config\""),
        (Kind::Auth, r#""allow":{"framing":7}"#.into(), "\"framing\" is no text"),
        (
            Kind::Auth,
            r#""allow":{"framing":"json","framing_config":1}"#.into(),
            "\"framing_config\" is no text",
        ),
        (Kind::Auth, r#""allow":{"framing_config":"lf"}"#.into(), "without a \"framing\""),
        (Kind::Auth, r#""allow":{"subprotocol":"mqtt"}"#.into(), "was not offered"),
        (Kind::Auth, r#""allow":{"subprotocol":"chat\r\nX: y"}"#.into(), "was not offered"),
        (Kind::Auth, r#""allow":{"labels":{"User":"me"}}"#.into(), "cannot be called"),
        (Kind::Auth, r#""allow":{"labels":{"":"me"}}"#.into(), "cannot be called"),
        (Kind::Auth, format!(r#""allow":{{"labels":{{"a":"{long}"}}}}"#), "longer than"),
        (Kind::Auth, format!(r#""allow":{{"labels":{{{}}}}}"#, labels.join(",")), "more than"),
        (Kind::Auth, format!(r#""allow":{{"headers":{{{}}}}}"#, headers.join(",")), "more than"),
        (Kind::Auth, r#""allow":{"headers":{"Connection":"close"}}"#.into(), "cannot be called"),
        (Kind::Auth, r#""allow":{"headers":{"Sec-WebSocket-Accept":"x"}}"#.into(), "cannot be called"),
        (Kind::Auth, r#""allow":{"headers":{"X Y":"z"}}"#.into(), "cannot be called"),
        (Kind::Auth, r#""allow":{"headers":{"X":"a\r\nY: b"}}"#.into(), "control character"),
        (Kind::Auth, r#""allow":{"headers":[["X"]]}"#.into(), "pair"),
        (Kind::Auth, r#""allow":{"headers":7}"#.into(), "no list"),
        (Kind::Auth, r#""allow":{"targett":"a:1"}"#.into(), "no member \"targett\""),
        (Kind::Auth, r#""deny":{"status":200}"#.into(), "from 300 to 599"),
        (Kind::Auth, r#""deny":{"status":101}"#.into(), "from 300 to 599"),
        (Kind::Auth, r#""deny":{"status":"403"}"#.into(), "from 300 to 599"),
        (Kind::Auth, r#""deny":{"code":403}"#.into(), "no member \"code\""),
    ] {
        let told = said(kind, &answer).unwrap_err();
        assert!(told.contains(part), "{answer}: {told}");
    }
    for line in [
        "",
        "hello",
        "[]",
        "7",
        "{}",
        r#"{"id":"1","allow":{}}"#,
        r#"{"id":-1}"#,
        "{\"id\":1",
        r#"{"ready":1}"#,
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line}");
    }
    assert_eq!(read(br#"{"ready":true}"#), Ok(Line::Ready(By::Request)));
    assert_eq!(read(br#"{"error":"no"}"#), Ok(Line::Unfit("no".into())));
    assert!(read(b"{\"error\":\"\xff\"}").is_err());
}

#[test]
fn whatever_a_plugin_writes_does_no_harm() {
    use crate::sim::Dice;
    let rows = [
        r#"{"ready":true}"#,
        r#"{"error":"no such table"}"#,
        r#"{"id":7,"allow":{"target":"10.0.0.9:5901","framing":"binary","subprotocol":"chat","headers":[["X-Desk","9"]],"labels":{"user":"alice"}}}"#,
        r#"{"id":7,"allow":{"headers":{"X-A":"b"},"target":null,"labels":{}}}"#,
        r#"{"id":18446744073709551615,"deny":{"status":302,"reason":"Elsewhere","headers":[["Location","/login"]]}}"#,
        r#"{"id":7,"error":"the database is away"}"#,
    ];
    let words = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "null",
        "1e999",
        "\\u0000",
        "\\n",
        "\u{e9}",
        "\"allow\"",
        "\"deny\"",
        "-1",
        "\r\n",
    ];
    let request = request(&[("Sec-WebSocket-Protocol", b"binary, chat")]);
    let mut judged = 0;
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let mut line = dice.pick(&rows).as_bytes().to_vec();
        for _ in 0..dice.below(4) {
            let at = dice.below(line.len() + 1);
            let end = at + dice.below(line.len() - at + 1).min(12);
            match dice.below(4) {
                0 => line.truncate(end),
                1 => drop(line.splice(at..end, dice.pick(&words).bytes())),
                2 => line.extend_from_within(at..end),
                _ if at < line.len() => line[at] = dice.word() as u8,
                _ => {}
            }
        }
        let most = 8 * line.len() + 200;
        let said = match read(&line) {
            Ok(Line::Answer(_, said)) => said,
            Ok(Line::Ready(_)) => continue,
            Ok(Line::Unfit(why)) | Err(why) => {
                assert!(why.len() <= most, "{why}");
                continue;
            }
        };
        judged += 1;
        for kind in [Kind::Token, Kind::Auth] {
            is_bounded(kind, judge(kind, By::Request, &request, said.clone()), most);
        }
    }
    assert!(judged > 2_000, "{judged}");
}

/// What an answer comes to is within bounds, whatever the plugin wrote.
#[track_caller]
fn is_bounded(kind: Kind, judged: Result<Answer, String>, most: usize) {
    match judged {
        Ok(Ok(pass)) => {
            assert!(pass.headers.len() <= PLUGIN_HEADERS_MAX && pass.labels.len() <= PLUGIN_LABELS_MAX);
            let clean = |text: &str| !text.contains(char::is_control);
            assert!(pass.headers.iter().all(|(name, value)| clean(name) && clean(value)), "{pass:?}");
            assert!(kind == Kind::Auth || pass.target.is_some());
        }
        Ok(Err(refusal)) => {
            let mut answer = Vec::new();
            refusal.write(false, 1, "", b"Fri, 20 Nov 2026 13:46:36 GMT", &mut answer);
            assert!((300..600).contains(&refusal.status()) && answer.len() <= 2 * most + 1000);
        }
        Err(why) => assert!(why.len() <= most, "{why}"),
    }
}

//! Texts on disk, whole: what comes out as ids, and what is refused.

use super::*;
use std::path::Path;

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn source(data: &[&PathBuf], level: Level) -> Source {
    Source {
        data: data.iter().map(|&path| path.clone()).collect(),
        valid: None,
        valid_fraction: 0.0,
        level,
        max_vocab: None,
        tokenizer: None,
        token_cache: None,
    }
}

/// Everything of a corpus that training sees.
fn content(corpus: &Corpus) -> (Tokenizer, [(Vec<u32>, usize); 2]) {
    let parts = [&corpus.train, &corpus.valid];
    let parts = parts.map(|part| (part.ids.view().to_vec(), part.unknown));
    (corpus.vocabulary.clone(), parts)
}

#[test]
fn words_of_the_validation_part_do_not_enter_the_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "text", "a b\na c\n");
    let mut source = source(&[&text], Level::Word);
    source.valid_fraction = 0.5;
    let corpus = Corpus::load(&source).unwrap();
    assert_eq!((corpus.train.len(), corpus.valid.len()), (3, 3));
    assert_eq!((corpus.train.unknown, corpus.valid.unknown), (0, 1));
    source.level = Level::Char;
    let corpus = Corpus::load(&source).unwrap();
    assert_eq!(corpus.vocabulary.len(), 5);
    assert_eq!((corpus.train.unknown, corpus.valid.unknown), (0, 0));
}

#[test]
fn characters_of_the_validation_and_test_texts_enter_the_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("train.txt", "ab"), ("valid.txt", "bc"), ("test.txt", "cd")] {
        write(folder.path(), name, text);
    }
    let mut source = source(&[&folder.path().to_owned()], Level::Char);
    let corpus = Corpus::load(&source).unwrap();
    assert_eq!(corpus.vocabulary.len(), 4);
    assert_eq!((corpus.train.len(), corpus.valid.len()), (2, 2));
    let test = encode_files(&corpus.vocabulary, &corpus.files.test).unwrap();
    assert_eq!(test.ids.view().to_vec(), [2, 3]);
    // Hold out a share, or validate on the text that is there.
    source.valid_fraction = 0.5;
    let error = Corpus::load(&source).unwrap_err().to_string();
    assert!(error.starts_with("valid-fraction = 0.5"), "{error}");
}

#[test]
fn ids_in_a_file_are_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    // Characters of one to four bytes and words, over the ends of what is read at once.
    let line = |i: usize| format!("{i} wörd{} 漢字\u{1d518}\r\n", i % 70_000);
    let a = write(
        folder.path(),
        "a",
        (0..90_000).map(line).collect::<String>(),
    );
    let b = write(folder.path(), "b", "\u{feff}the end");
    for (level, fraction, bytes) in [
        (Level::Char, 0.0, 2),
        (Level::Char, 0.3, 2),
        (Level::Word, 0.0, 4),
        (Level::Word, 0.3, 4),
    ] {
        let mut source = source(&[&a, &b], level);
        source.valid_fraction = fraction;
        let memory = Corpus::load(&source).unwrap();
        let file = Corpus::load_within(&source, 0).unwrap();
        assert_eq!(memory.bytes_in_file(), None);
        let tokens = file.train.len() + file.valid.len();
        assert_eq!(file.bytes_in_file(), Some(bytes * tokens));
        assert!(content(&file) == content(&memory), "{level:?} {fraction}");
        source.token_cache = Some(folder.path().join(format!("{level:?}{fraction}.ids")));
        for _ in 0..2 {
            let cached = Corpus::load(&source).unwrap();
            assert!(content(&cached) == content(&memory), "{level:?} {fraction}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6);
}

#[test]
fn a_file_ends_a_word_but_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = [("a", "one two"), ("b", "three\n")].map(|(n, t)| write(folder.path(), n, t));
    let words = Corpus::load(&source(&[&a, &b], Level::Word)).unwrap();
    assert_eq!(words.train.ids.view().to_vec(), [1, 2, 3, 4]);
    let characters = Corpus::load(&source(&[&a, &b], Level::Char)).unwrap();
    assert_eq!(characters.train.len(), "one twothree\n".len());
}

#[test]
fn what_a_text_may_hold_is_kept_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let longest = "x".repeat(5 << 20);
    for (text, characters, words) in [
        ("\u{feff}a\u{feff}b", 3, 1),
        ("a\r\nb\r\n", 6, 4),
        ("a\0 b\0", 5, 2),
        ("\u{1d518}\u{10ffff} é", 4, 2),
        (&format!("a {longest} b"), (5 << 20) + 4, 3),
    ] {
        let path = write(folder.path(), "text", text);
        for (level, count) in [(Level::Char, characters), (Level::Word, words)] {
            let corpus = Corpus::load(&source(&[&path], level)).unwrap();
            assert_eq!(corpus.train.len(), count);
            let mut decoder = corpus.vocabulary.decoder();
            let decoded = corpus.train.ids.view().to_vec().into_iter();
            let decoded: String = decoded.map(|id| decoder.push(id).unwrap()).collect();
            if level == Level::Char {
                assert!(decoded == text.trim_start_matches('\u{feff}'));
            } else {
                let text = text.trim_start_matches('\u{feff}');
                assert!(decoded.split_whitespace().eq(text.split_whitespace()));
            }
        }
    }
}

#[test]
fn a_text_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &PathBuf, level| {
        let error = Corpus::load(&source(&[path], level)).unwrap_err();
        error.to_string()
    };
    let mut middle = "é".repeat(3 << 19).into_bytes();
    middle[2_000_001] = b'x';
    let mut cut = "é".repeat(3 << 19).into_bytes();
    cut.pop();
    for (name, bytes, hint) in [
        ("middle", middle, "not UTF-8 text (byte 2000000)"),
        ("cut", cut, "not UTF-8 text (byte 3145726)"),
        ("latin-1", b"caf\xe9".to_vec(), "not UTF-8 text (byte 3)"),
        ("empty", Vec::new(), "is empty"),
        ("mark", "\u{feff}".into(), "is empty"),
        ("blank", vec![b' '; 3 << 20], "is empty"),
    ] {
        let path = write(folder.path(), name, bytes);
        for level in [Level::Char, Level::Word] {
            let error = error(&path, level);
            assert!(error.contains(name) && error.contains(hint), "{error}");
        }
    }
    let missing = folder.path().join("missing");
    assert!(error(&missing, Level::Char).contains("cannot read"));
    let text = write(folder.path(), "text", "text");
    // An empty file beside others adds nothing.
    let both = source(&[&folder.path().join("empty"), &text], Level::Char);
    assert_eq!(Corpus::load(&both).unwrap().train.len(), 4);
    let mut source = source(&[&text], Level::Char);
    source.valid = Some(folder.path().to_owned());
    let error = Corpus::load(&source).unwrap_err().to_string();
    assert!(error.contains("is a directory"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_text_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "secret", "text");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        return eprintln!("skipped: this user may read everything");
    }
    let error = Corpus::load(&source(&[&path], Level::Char)).unwrap_err();
    assert!(
        error.to_string().contains("secret: Permission denied"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_once_and_used_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let text = "piped ".repeat(300_000);
    let corpus = std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(&path, &text).unwrap());
        Corpus::load(&source(&[&path], Level::Char)).unwrap()
    });
    assert_eq!(corpus.train.len(), text.len());
}

#[test]
fn a_text_that_changes_between_two_passes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "text", "one");
    let open = || Text::open(std::slice::from_ref(&path)).unwrap();
    let read = |text: &Text| text.hash().unwrap_err().to_string();
    let text = open();
    write(folder.path(), "text", "one and two");
    assert!(read(&text).contains("changes while it is read"));
    let text = open();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(later).unwrap();
    assert!(read(&text).contains("changes while it is read"));
    let text = open();
    std::fs::remove_file(&path).unwrap();
    assert!(read(&text).contains("cannot read"));
}

#[test]
fn a_vocabulary_that_is_there_is_used_and_what_it_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let characters = Vocabulary::of_characters("abc\n");
    let words = Vocabulary::of_words("b a", None).unwrap();
    let mut unknown = words.to_json();
    unknown["model"]["vocab"] = serde_json::json!({"b": 0, "a": 1});
    let tokenizer = |name, json: serde_json::Value| write(folder.path(), name, json.to_string());
    let text = write(folder.path(), "text", "ab\nab\n");
    let words_text = write(folder.path(), "words", "a b zebra");
    let mut source = source(&[&text], Level::Char);
    source.tokenizer = Some(tokenizer("characters", characters.to_json()));
    let corpus = Corpus::load(&source).unwrap();
    assert_eq!(corpus.vocabulary, characters.into());
    assert_eq!(corpus.train.ids.view().to_vec(), [1, 2, 0, 1, 2, 0]);
    source.data = vec![words_text];
    let error = Corpus::load(&source).unwrap_err().to_string();
    assert!(error.contains("words holds \" \" (byte 1)"), "{error}");
    // The tokenizer says what a token is.
    source.tokenizer = Some(tokenizer("words.json", words.to_json()));
    let corpus = Corpus::load(&source).unwrap();
    assert_eq!(corpus.train.ids.view().to_vec(), [2, 1, 0]);
    assert_eq!(corpus.train.unknown, 1);
    source.tokenizer = Some(tokenizer("unknown", unknown));
    let error = Corpus::load(&source).unwrap_err().to_string();
    assert!(error.contains("\"zebra\" (byte 4)"), "{error}");
}

#[test]
fn a_cache_of_other_texts_or_settings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "text", "one two three\none two\n");
    let cache = folder.path().join("cache");
    let mut first = source(&[&text], Level::Word);
    first.token_cache = Some(cache.clone());
    Corpus::load(&first).unwrap();
    let bytes = std::fs::read(&cache).unwrap();
    let refused = |source: &Source, hint: &str| {
        let error = Corpus::load(source).unwrap_err().to_string();
        assert!(error.contains(hint) && error.contains("cache"), "{error}");
    };
    for (change, hint) in [
        (
            Source {
                level: Level::Char,
                ..first.clone()
            },
            "another --level",
        ),
        (
            Source {
                max_vocab: Some(3),
                ..first.clone()
            },
            "another --vocab-size",
        ),
        (
            Source {
                valid_fraction: 0.5,
                ..first.clone()
            },
            "another --valid-fraction",
        ),
        (
            Source {
                valid: Some(write(folder.path(), "v", "one")),
                ..first.clone()
            },
            "from another validation text",
        ),
    ] {
        refused(&change, hint);
    }
    write(folder.path(), "text", "One two three\none two\n");
    refused(&first, "from another training text");
    write(folder.path(), "text", "one two three\none two\n");
    Corpus::load(&first).unwrap();
    let version = [&bytes[..8], &[9], &bytes[9..]].concat();
    let flipped = [&bytes[..bytes.len() - 3], b"7", &bytes[bytes.len() - 2..]].concat();
    for (bytes, hint) in [
        (&bytes[..bytes.len() - 1], "is damaged"),
        (&bytes[..60], "is damaged"),
        (&bytes[..20], "is no file of token ids"),
        (&[], "is no file of token ids"),
        (
            &b"just some text, longer than the header of a cache, that is"[..],
            "is no file of token ids",
        ),
        (&version, "has format 9"),
        (&flipped, "is damaged"),
    ] {
        std::fs::write(&cache, bytes).unwrap();
        refused(&first, hint);
    }
    first.token_cache = Some(folder.path().join("no-folder/cache"));
    refused(&first, "cannot be written");
}

#[test]
fn an_id_that_was_changed_in_a_cache_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "text", "abcabcabc");
    let cache = folder.path().join("cache");
    let mut source = source(&[&text], Level::Char);
    source.token_cache = Some(cache.clone());
    Corpus::load(&source).unwrap();
    let mut bytes = std::fs::read(&cache).unwrap();
    // Another token, and none.
    for id in [2, 3] {
        bytes[56 + 2] = id;
        std::fs::write(&cache, &bytes).unwrap();
        let error = Corpus::load(&source).unwrap_err().to_string();
        assert!(error.contains("cache is damaged"), "{error}");
    }
    bytes[56 + 2] = 1;
    std::fs::write(&cache, &bytes).unwrap();
    Corpus::load(&source).unwrap();
}

#[test]
fn a_text_to_predict_is_read_as_one_to_train_on() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "text", "\u{feff}ab\ncé".repeat(2));
    let tokenizer = Tokenizer::from(Vocabulary::of_characters("\nabc"));
    let read = |path: &Path, unknown| unseen::Unseen::read(path, &tokenizer, unknown);
    // The second mark is a character, as is é: both are unknown.
    let skipped = read(&text, Unknown::Skip).unwrap();
    assert_eq!(skipped.part.ids.view().to_vec(), [1, 2, 0, 3, 1, 2, 0, 3]);
    assert_eq!((skipped.characters, skipped.part.skipped), (8, 3));
    let error = read(&text, Unknown::Error).unwrap_err().to_string();
    assert!(
        error.contains("text holds \"é\" (byte 7)") && error.contains("--unknown skip"),
        "{error}"
    );
    assert_eq!(unseen::prompt(&text).unwrap(), "ab\ncé\u{feff}ab\ncé");
    for (name, bytes, hint) in [
        ("latin-1", &b"ab\xe9"[..], "not UTF-8 text (byte 2)"),
        ("empty", b"", "is empty"),
    ] {
        let path = write(folder.path(), name, bytes);
        let error = read(&path, Unknown::Skip).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(hint), "{error}");
    }
    let latin = unseen::prompt(&folder.path().join("latin-1")).unwrap_err();
    assert!(latin.to_string().contains("(byte 2)"), "{latin}");
    assert_eq!(unseen::prompt(&folder.path().join("empty")).unwrap(), "");
}

#[test]
fn the_validation_part_is_read_again_to_be_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "text", "a b\na c\n");
    let mut source = source(&[&text], Level::Word);
    let words = Corpus::load(&source).unwrap().vocabulary;
    let read = |source: &Source| unseen::Unseen::validation(source, &words, Unknown::Error);
    assert!(read(&source).unwrap().is_none());
    source.valid_fraction = 0.5;
    let valid = read(&source).unwrap().unwrap();
    let trained_on = Corpus::load(&source).unwrap().valid;
    assert_eq!((valid.characters, valid.part.len()), (4, trained_on.len()));
    source.valid_fraction = 0.0;
    source.valid = Some(write(folder.path(), "valid", "c x"));
    let valid = read(&source).unwrap().unwrap();
    assert_eq!((valid.characters, valid.part.unknown), (3, 1));
}

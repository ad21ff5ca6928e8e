//! The memory of an agent that rests.

/// Gives back the pages of the program's own text. The kernel brings back those that are used, from its cache of the
/// file: what only the start or the last turn needed does not stay resident. Where that cannot be done, nothing happens.
pub(super) fn give_back() {
    #[cfg(target_os = "linux")]
    if let Some(text) = own_text() {
        advise(text);
    }
}

/// Where the program's text is mapped: the mapping that holds this function.
#[cfg(target_os = "linux")]
fn own_text() -> Option<std::ops::Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    text_around(&maps, own_text as fn() -> Option<std::ops::Range<usize>> as usize)
}

/// The mapping around an address, if it is text of a file that cannot be written.
#[cfg(target_os = "linux")]
fn text_around(maps: &str, address: usize) -> Option<std::ops::Range<usize>> {
    maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
        let is_text =
            fields.next() == Some("r-xp") && fields.nth(3).is_some_and(|path| path.starts_with('/'));
        (is_text && range.contains(&address)).then_some(range)
    })
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe call says this to the kernel")]
fn advise(text: std::ops::Range<usize>) {
    use rustix::mm::{Advice, madvise};
    let start = std::ptr::with_exposed_provenance_mut(text.start);
    // SAFETY: the range is a private mapping of a file that nobody can write in this process and that the kernel lets
    // nobody write while it runs, so its pages are those of the file, and a page that was let go of is read again as it was.
    let told = unsafe { madvise(start, text.len(), Advice::LinuxDontNeed) };
    if let Err(error) = told {
        tracing::debug!(%error, "the program's pages stay resident");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_a_file_is_given_back() {
        let maps = "1000-2000 r--p 00000000 fd:01 7 /usr/bin/x\n2000-4000 r-xp 00001000 fd:01 7 /usr/bin/x\n\
                    4000-5000 rw-p 00003000 fd:01 7 /usr/bin/x\n5000-6000 r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(text_around(maps, 0x2fff), Some(0x2000..0x4000));
        for elsewhere in [0x1000, 0x4000, 0x5000, 0x9000] {
            assert_eq!(text_around(maps, elsewhere), None, "{elsewhere:x}");
        }
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        let text = own_text().unwrap();
        assert!(text.len() > 1 << 20, "{text:?}");
        let before = resident();
        give_back();
        assert!(resident() < before, "{before} KiB of files were resident, and are still");
    }
}

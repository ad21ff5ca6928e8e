//! The memory of an agent that rests.

#[cfg(target_os = "linux")]
use std::ops::Range;

/// Gives back the pages of the program's own text and constants. The kernel brings back those that are used, from its
/// cache of the file: what only the start or the last turn needed does not stay resident. Where that cannot be done,
/// nothing happens.
pub(super) fn give_back() {
    #[cfg(target_os = "linux")]
    own_text().into_iter().for_each(advise);
}

/// Where the program's file is mapped and never written: the text, which holds this function, and what precedes it.
#[cfg(target_os = "linux")]
fn own_text() -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    text_around(&maps, own_text as fn() -> Vec<Range<usize>> as usize)
}

/// One line of `/proc/PID/maps`.
#[cfg(target_os = "linux")]
struct Mapping<'a> {
    range: Range<usize>,
    access: &'a str,
    offset: &'a str,
    /// Device and inode.
    file: (&'a str, &'a str),
}

#[cfg(target_os = "linux")]
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let mut fields = line.split_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
    let (access, offset) = (fields.next()?, fields.next()?);
    let file = (fields.next()?, fields.next().filter(|inode| *inode != "0")?);
    Some(Mapping { range, access, offset, file })
}

/// Of the file whose text holds the address, the text and the beginning, with the constants. What the dynamic linker
/// writes is in other mappings, also where they are made read-only afterwards.
#[cfg(target_os = "linux")]
fn text_around(maps: &str, address: usize) -> Vec<Range<usize>> {
    let all: Vec<Mapping<'_>> = maps.lines().filter_map(mapping).collect();
    let own = all.iter().find(|one| one.access == "r-xp" && one.range.contains(&address));
    let Some(own) = own else { return vec![] };
    let is_clean = |one: &&Mapping<'_>| {
        let begins = || one.access == "r--p" && one.offset.bytes().all(|digit| digit == b'0');
        one.file == own.file && (one.access == "r-xp" || begins())
    };
    all.iter().filter(is_clean).map(|one| one.range.clone()).collect()
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe call says this to the kernel")]
fn advise(clean: Range<usize>) {
    use rustix::mm::{Advice, madvise};
    let start = std::ptr::with_exposed_provenance_mut(clean.start);
    // SAFETY: the range is a private mapping of the program's file that nobody writes in this process, and that the kernel
    // lets nobody write while it runs, so its pages are those of the file: one that was let go of is read again as it was.
    let told = unsafe { madvise(start, clean.len(), Advice::LinuxDontNeed) };
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
                    4000-5000 r--p 00003000 fd:01 7 /usr/bin/x\n5000-6000 rw-p 00004000 fd:01 7 /usr/bin/x\n\
                    6000-7000 r--p 00000000 fd:01 8 /usr/lib/y\n7000-8000 r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(text_around(maps, 0x2fff), [0x1000..0x2000, 0x2000..0x4000]);
        for elsewhere in [0x1000, 0x4000, 0x5000, 0x6000, 0x7000, 0x9000] {
            assert!(text_around(maps, elsewhere).is_empty(), "{elsewhere:x}");
        }
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        assert!(own_text().iter().map(Range::len).sum::<usize>() > 1 << 20, "{:?}", own_text());
        let before = resident();
        give_back();
        assert!(resident() < before, "{before} KiB of files were resident, and are still");
    }
}

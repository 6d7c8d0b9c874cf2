//! Large pages for the buffers that disks are read into.

use rustix::mm::{Advice, madvise};
use rustix::param::page_size;

/// Asks the kernel to back these bytes by huge pages where it can. A read into 4 MiB of small pages is a
/// request of 1024 pieces, which the queue splits; one into two huge pages passes as it is.
///
/// A hint: nothing changes but speed, and nothing is reported if the kernel does not follow it.
pub fn huge_pages(bytes: &mut [u8]) {
    let page = page_size();
    let skip = bytes.as_ptr().align_offset(page);
    let Some(pages) = bytes.get_mut(skip..) else { return };
    let len = pages.len() - pages.len() % page;
    // SAFETY: the `len` bytes from the first page boundary on lie inside `bytes`, so they are mapped, and
    // no other reference to them exists while we borrow them mutably. MADV_HUGEPAGE changes which pages
    // back a mapping, never their content, address or permissions.
    let _hint = unsafe { madvise(pages.as_mut_ptr().cast(), len, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_slice_will_do_and_keeps_its_content() {
        let mut bytes = vec![7; 5 << 20];
        let len = bytes.len();
        for range in [0..0, 0..1, 1..4096, 1..len, 4095..len - 1, 0..len] {
            huge_pages(&mut bytes[range]);
        }
        assert!(bytes.iter().all(|byte| *byte == 7));
    }
}

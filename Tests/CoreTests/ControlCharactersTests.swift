import Core
import Testing

@Suite struct ControlCharactersTests {
  @Test func controlsAreWrittenAsInCode() {
    #expect("plain ü 漢\u{1F600}".escapingControls() == "plain ü 漢\u{1F600}")
    #expect("\u{1B}[2J\u{9B}1m\r\u{7F}\0".escapingControls() == "\\u001b[2J\\u009b1m\\r\\u007f\\u0000")
    #expect("a\tb\r\nc".escapingControls() == "a\tb\\r\nc")
    #expect("a\tb\r\nc".escapingControls(keepingLines: false) == "a\\tb\\r\\nc")
  }
}

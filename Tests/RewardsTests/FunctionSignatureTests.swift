import Core
import Foundation
import TestSupport
import Testing

@testable import Rewards

/// What is found in a signature and in a library before anything runs.
@Suite struct FunctionSignatureTests {
  @Test(arguments: [
    // (signature, the column of the mark, what the error says)
    ("doubel f(double column.x)", 1, "'doubel' is no type that is known here", "did you mean 'double'?"),
    ("double f(Bytef *completion)", 10, "'Bytef' is no type", "write the type that it stands for"),
    ("f(double column.x)", 1, "f has no result type", "such as: double f(..)"),
    ("double f(completion)", 10, "completion has no type", "const char *completion"),
    ("double f(double delta)", 17, "'delta' says nothing about where it comes from", "double column.delta"),
    ("double f(const char *complation)", 22, "'complation' says nothing", "did you mean 'completion'?"),
    ("double f(double colum.x)", 17, "'colum.x' says nothing", "did you mean 'column'?"),
    ("double f(double completion)", 17, "completion is const char *, found double", ""),
    ("double f(char *completion)", 16, "completion is const char *, found char *", "it may not be written to"),
    ("double f(const double *completion)", 24, "completion is const char *, found const double *", ""),
    ("double f(double completion.size)", 17, "completion.size is a whole number, found double", "size_t"),
    ("double f(size_t completion.sise)", 17, "completion has no 'sise'", "did you mean completion.size?"),
    ("double f(const int64_t *token_ids)", 25, "token_ids is const int32_t *, found const int64_t *", ""),
    ("double f(const double *logprobs)", 24, "logprobs is const float *", ""),
    ("double f(const char *step)", 22, "step is a number, found const char *", ""),
    ("double f(float seed)", 16, "seed is a whole number, found float", ""),
    ("double f(const uint8_t *image.pixels)", 25, "'image.pixels' says nothing", "pixels.width"),
    ("double f(const uint8_t *image[2].pixels)", 25, "only pictures are numbered", "write pixels[2]"),
    ("double f(int pixels.widht)", 14, "pixels has no 'widht'", "did you mean pixels.width?"),
    ("double f(int pixels[-1].width)", 21, "expected a picture's number", ""),
    ("double f(double column)", 17, "which column?", "write column.NAME"),
    ("double f(double column.)", 24, "expected a name after 'column.', found ')'", "column.\"2nd\""),
    ("double f(double column.2nd)", 24, "expected a name after 'column.', found '2nd'", "column.\"2nd\""),
    ("double f(double column.a.b)", 17, "'column.a.b' has a part 'b'", "column.\"a.b\""),
    ("double f(double column.a.b.c)", 17, "'column.a.b.c' has too many parts", ""),
    ("double f(double *column.a)", 18, "column.a cannot be passed as double *", "declare it const double *"),
    (
      "double f(const char **column.a)", 23, "column.a cannot be passed as const char **",
      "expected a number, const char *"
    ),
    ("double f(double \"a\")", 17, "the constant \"a\" is a string, expected a number", ""),
    ("double f(uint8_t 256)", 18, "the constant 256 is 256, which its type cannot hold", ""),
    ("double f(int 0.5)", 14, "the constant 0.5 is 0.5, expected a whole number", ""),
    ("double f(int 08)", 14, "'08' is no number", ""),
    ("double f(int column.x = 0.5)", 14, "the default 0.5 is 0.5, expected a whole number", ""),
    ("double f(int step = 1)", 14, "only columns and parameters have defaults", ""),
    ("double f(double NULL)", 17, "NULL is no double", ""),
    ("double f(const char *\"a)", 22, "a text has no closing", ""),
    ("double f(const char *\"\\q\")", 23, "an escape that is not known", ""),
    ("double f(double column.x", 25, "expected ')' or ',' after an argument, found the end", ""),
    ("double f(double column.x) const", 27, "'const' after the signature", ""),
    ("double f", 9, "expected '(' after f, found the end", "such as: double f(const char *completion)"),
    ("double f(struct point column.p)", 10, "a struct cannot be passed", "a small C function"),
    ("struct point f(void)", 1, "a struct cannot be passed", ""),
    ("double f(enum kind column.p)", 10, "'enum' names no number", "write int"),
    ("double f(const char *completion, ...)", 34, "functions with '...' cannot be called", ""),
    ("long double f(void)", 1, "'long double' is no type that can be passed", ""),
    ("unsigned double f(void)", 1, "'unsigned double' is no type", ""),
    ("const char *f(void)", 1, "the result of f is const char *, expected a number or void", ""),
    ("void f(const char *completion)", 1, "f returns nothing, and no argument takes the score", "double *score"),
    ("double f(double *score)", 1, "f returns a double and fills 'score'", "is a status"),
    ("void f(double *score, double *score)", 31, "'score' is filled twice", ""),
    ("void f(double *score, int *component.a, int *component.a)", 46, "'component.a' is filled twice", ""),
    ("void f(double score)", 15, "score is filled by the function: double *, found double", ""),
    ("void f(double *score, double *component)", 31, "'component' is no place for a number", "component.NAME"),
    ("double f(double *token_rewards)", 18, "token_rewards is filled by the function: float *", ""),
    ("double f(const char *log)", 22, "log is a buffer that the function fills", "void (*log)(const char *)"),
    ("double f(size_t log.capacity)", 17, "there is a log.capacity and no log", "char *log"),
    ("double f(char *log, int8_t log.capacity)", 28, "int8_t is too small for log.capacity", ""),
    ("double f(double context)", 17, "context is void *, found double", ""),
    ("double f(void column.x)", 10, "an argument cannot be void", ""),
    ("double f(int parameter.n, bool parameter.n)", 32, "the parameter 'n' is a number and a boolean", ""),
    ("double f(void (*lag)(const char *))", 17, "the host has no function 'lag'", "did you mean 'log'?"),
    ("double f(int (*compare)(int, int))", 16, "the host has no function 'compare'", "it has log, metric"),
    (
      "double f(void (*log)(int))", 17, "the host's function log takes other arguments",
      "it is void (*log)(const char *)"
    ),
    (
      "double f(float (*column)(const char *))", 18, "the host's function column does not return float",
      "it is double (*column)"
    ),
    ("double f(void (log)(const char *))", 16, "expected '*' in front of a function pointer's name", ""),
    ("", 1, "expected a type, found the end", ""),
    ("double f(double § )", 17, "expected the name of what is passed as double, found '§'", ""),
  ])
  func errorsPointAtTheirPlace(_ text: String, _ column: Int, _ message: String, _ hint: String) {
    let error = #expect(throws: AttuneError.self) { try FunctionSignature(text) }
    #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    #expect(error?.message.contains("at column \(column) of the signature\n") == true, "\(error?.message ?? "")")
    #expect(hint.isEmpty || error?.hint?.contains(hint) == true, "\(error?.hint ?? "no hint")")
    let lines = error?.message.split(separator: "\n", omittingEmptySubsequences: false) ?? []
    #expect(lines.last.map(String.init) == String(repeating: " ", count: column + 1) + "^")
  }

  @Test func anyTextIsRefusedOrRead() {
    // Every prefix, and every character replaced by each of a few.
    let text: [Character] = Array(
      "void f(const char *\"a\\n\", double column.\"b c\"[] = 1, const uint8_t *pixels[1], void (*log)(char *, ...), double *score);"
    )
    for count in text.indices { _ = try? FunctionSignature(String(text[..<count])) }
    for i in text.indices {
      for other in "(*[\"0.,=-\u{301}\n" {
        var changed = text
        changed[i] = other
        _ = try? FunctionSignature(String(changed))
      }
    }
    let many = "double f(" + Array(repeating: "int 1", count: 200).joined(separator: ",") + ")"
    #expect(throws: AttuneError.self) { try FunctionSignature(many) }
    _ = try? FunctionSignature("double f(" + String(repeating: "(", count: 100_000))
  }

  @Test func whatASourceNames() {
    func split(_ source: String) -> [String]? {
      FunctionSignature.split(source) { $0 == "/a:b/x.so" }.map { [$0.library, $0.signature] }
    }
    #expect(split("libm.so.6: double fabs(double column.x)") == ["libm.so.6", "double fabs(double column.x)"])
    #expect(split("/a:b/x.so:int f(void)") == ["/a:b/x.so", "int f(void)"])
    #expect(split("double fabs(double column.x);") == ["", "double fabs(double column.x);"])
    #expect(split("x.so: double f(const char *\"a:b\")") == ["x.so", "double f(const char *\"a:b\")"])
    #expect(split("rewards/several.c:explain") == nil)
    #expect(split("rewards (old)/several.c") == nil)
    #expect(split("exact_match") == nil)
  }

  // MARK: Libraries

  private func refusal(_ source: String) -> String {
    do {
      _ = try RewardLoader.load(
        RewardSpecification(name: "f", source: source, isolation: .inline), workerCommand: Workshop.command)
    } catch {
      return "\(error)"
    }
    return "not refused"
  }

  @Test func librariesAndSymbolsThatAreMissing() throws {
    let own = try FunctionTests.library.get()
    for (source, parts) in [
      ("libm.so.6: double fabz(double column.x)", ["exports no function 'fabz'", "did you mean 'fabs'?"]),
      ("libn.so.6: double fabs(double column.x)", ["found no library 'libn.so.6'", "did you mean 'lib"]),
      ("libm: double fabs(double column.x)", ["found no library 'libm'", "did you mean 'libm.so.6'?"]),
      ("libqqqqqqqqqqqqq.so: double fabs(double column.x)", ["found no library", "it looks in", "LD_LIBRARY_PATH"]),
      ("double fabs(double column.x)", ["declared without the library", "libm.so.6: double fabs(double column.x)"]),
      ("/nowhere/x.so: double f(void)", ["there is no file /nowhere/x.so"]),
      ("/nowhere/x.c: double f(void)", ["there is no file /nowhere/x.c"]),
      (Fixtures.root + "/README.md: double f(void)", ["is not a shared library: it holds text"]),
      (own + ": double give_dubble(double 1)", ["exports no function 'give_dubble'", "did you mean 'give_double'?"]),
      (own + ": double zzzzzzzzzzzz(double 1)", ["exports no function", "such as a", ", call_back"]),
      (own + ": double a_variable(void)", ["'a_variable' of ", "is a variable, expected a function"]),
      (
        own + ": double distance(const char *completion, const char *reference)",
        ["it has _Z8distancePKcS0_, the name that C++ makes of one", "extern \"C\""]
      ),
      (own + ": double distance(double completion)", ["completion is const char *"]),
    ] {
      let text = refusal(source)
      for part in parts { #expect(text.contains(part), "\(source): \(text)") }
    }
  }

  @Test func exportedNamesAreReadFromTheFile() throws {
    let path = try FunctionTests.library.get()
    let names = SymbolTable.exported(by: path)
    #expect(names.contains(.init(name: "give_double", isFunction: true)))
    #expect(names.contains(.init(name: "a_variable", isFunction: false)))
    #expect(!names.contains { $0.name == "strlen" })
    #expect(SymbolTable.exported(by: "/nowhere").isEmpty)

    // No cut and no byte that is changed leads outside the file.
    let bytes = [UInt8](try #require(FileManager.default.contents(atPath: path)))
    for count in [0, 16, 63, 64, 100, bytes.count / 2, bytes.count - 1] {
      bytes[..<count].withUnsafeBytes { _ = SymbolTable.exported($0) }
    }
    for i in 0..<64 {
      var changed = bytes
      changed[i] ^= 0xFF
      changed.withUnsafeBytes { _ = SymbolTable.exported($0) }
    }
    let sections = Int(bytes[40]) | Int(bytes[41]) << 8 | Int(bytes[42]) << 16
    for i in stride(from: sections, to: bytes.count, by: 1) {
      var changed = bytes
      changed[i] = 0xFF
      changed.withUnsafeBytes { _ = SymbolTable.exported($0) }
    }
  }
}

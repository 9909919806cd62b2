import Core
import Foundation
import TestSupport
import Testing

@testable import Text

/// Templates that try to crash or to hang: every one ends with an error, also on a small stack.
@Suite(.serialized) struct HostileTemplateTests {
  static let templates: [(name: String, source: String)] = [
    ("endless recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
    ("mutual recursion", "{% macro a(f) %}{{ f(f) }}{% endmacro %}{{ a(a) }}"),
    ("loop recursion", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
    ("deep parentheses", "{{ " + String(repeating: "(", count: 100_000)),
    ("deep lists", "{{ " + String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000) + " }}"),
    ("deep minus", "{{ " + String(repeating: "-", count: 100_000) + "1 }}"),
    ("many nots", "{{ " + String(repeating: "not ", count: 100_000) + "1 }}"),
    ("long sum", "{{ 1" + String(repeating: " + 1", count: 100_000) + " }}"),
    ("long or", "{{ 1" + String(repeating: " or 1", count: 100_000) + " }}"),
    ("long filters", "{{ 1" + String(repeating: " | string", count: 100_000) + " }}"),
    ("long path", "{{ x" + String(repeating: ".a", count: 100_000) + " }}"),
    ("long conditional", "{{ 1" + String(repeating: " if 1 else 1", count: 100_000) + " }}"),
    ("deep blocks", String(repeating: "{% if true %}", count: 100_000)),
    ("wide nested loops", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"),
    ("huge range", "{{ range(1000000000) | list }}"),
    ("range at the edge", "{{ range(-9223372036854775807, 9223372036854775807) | list }}"),
    ("huge repeat", "{{ 'a' * 10000000000 }}"),
    ("huge list", "{{ ([0] * 10000000000) | length }}"),
    ("doubling", "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"),
    ("nesting values", "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}"),
    (
      "exponential print",
      "{% set ns = namespace(l=[1]) %}{% for i in range(80) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}"
    ),
    (
      "exponential comparison",
      "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(80) %}{% set ns.l = [ns.l, ns.l] %}"
        + "{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}"
    ),
    (
      "exponential JSON",
      "{% set ns = namespace(l=[1]) %}{% for i in range(80) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
        + "{{ ns.l | tojson }}"
    ),
    ("circle", "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}"),
    ("width of percent", "{{ '%1000000000d' % 1 }}"),
    ("width of format", "{{ '{:1000000000}'.format(1) }}"),
    ("center", "{{ 'a' | center(10000000000) }}"),
    ("ljust", "{{ 'a'.ljust(10000000000) }}"),
    ("indent", "{{ 'a\\nb' | indent(10000000000) }}"),
    ("JSON indent", "{{ [1] | tojson(indent=10000000000) }}"),
    ("batch", "{{ [1] | batch(10000000000, 0) | list }}"),
    ("replace", "{% set a = 'a' * 100000 %}{{ a | replace('a', a) | length }}"),
    ("join", "{% set a = 'a' * 1000000 %}{{ range(100000) | join(a) | length }}"),
    ("overflow", "{{ 9223372036854775807 + 1 }}"),
    ("overflow of minus", "{{ -(-9223372036854775807 - 1) }}"),
    ("power", "{{ 10 ** 100 }}"),
    ("smallest by minus one", "{{ (-9223372036854775807 - 1) // -1 }}"),
    ("big literal", "{{ 99999999999999999999 }}"),
    (
      "cycler chain",
      "{% set ns = namespace(c=0) %}{% for i in range(100000) %}{% set ns.c = cycler(ns.c).next %}{% endfor %}"
    ),
    ("broken escape", "{{ '\\u12' }}"),
    ("open comment", "{# "),
    ("open raw", "{% raw %}"),
    ("open string", "{{ 'abc }}"),
    ("wrong bracket", "{{ (1] }}"),
  ]

  /// Runs `body` on a thread whose stack is as small as threads get on macOS.
  static func onSmallStack(_ body: @escaping @Sendable () -> Void) {
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
      body()
      done.signal()
    }
    thread.stackSize = 512 << 10
    thread.start()
    done.wait()
  }

  @Test(arguments: templates.indices) func endsWithAnError(_ index: Int) {
    let (name, source) = Self.templates[index]
    Self.onSmallStack {
      do {
        let result = try JinjaTemplate(source: source, file: name).render(.init())
        Issue.record("\(name): rendered \(result.text.prefix(60))")
      } catch {
        #expect(error is AttuneError, "\(name): \(error)")
      }
    }
  }

  /// Work that grows with the text alone, not with its square: each of these took minutes when it did.
  @Test func longTextsAreWrittenInLinearTime() throws {
    for (source, length) in [
      ("{{ ('<' * 3000000) | escape | length }}", "12000000"), ("{{ ['\\n' * 1000000] | string | length }}", "2000004"),
      ("{{ ['\\x01' * 500000] | string | length }}", "2000004"),
    ] {
      #expect(try JinjaTemplate(source: source, file: "long").render(.init()).text == length)
    }
    expectAttuneError(containing: "steps") {
      _ = try JinjaTemplate(source: "{{ ('ab ' * 3000000) | wordwrap(1) | length }}", file: "wrap").render(.init())
    }
  }

  @Test func chainsThroughScopesAreReleasedFlat() {
    let sources = [
      "{% set ns = namespace(c=0) %}{% macro m() %}{% set ns.c = caller %}{% endmacro %}"
        + "{% for i in range(50000) %}{% set prev = ns.c %}{% call m() %}{% endcall %}{% endfor %}",
      "{% set ns = namespace(c=namespace()) %}{% for i in range(50000) %}{% set n = namespace(next=ns.c) %}"
        + "{% set ns.c = n %}{% endfor %}",
      "{% set ns = namespace(m=0) %}{% for i in range(50000) %}{% set prev = ns.m %}{% macro m() %}{% endmacro %}"
        + "{% set ns.m = m %}{% endfor %}",
      "{% set ns = namespace(l=[0]) %}{% for i in range(50000) %}{% for x in [ns.l] %}{% set ns.l = loop %}"
        + "{% endfor %}{% endfor %}",
      "{% set ns = namespace(f=0) %}{% for i in range(50000) %}{% for x in [1] %}{% set _ = loop.changed(ns.f) %}"
        + "{% set ns.f = loop.changed %}{% endfor %}{% endfor %}",
    ]
    for source in sources {
      Self.onSmallStack { _ = try? JinjaTemplate(source: source, file: "chain").render(.init()) }
    }
  }

  /// Cut anywhere and with bytes changed, a template may fail but never crash.
  @Test func brokenTemplatesNeverCrash() throws {
    var random = Randomness(seed: 5, for: .testing).stream()
    for name in ["qwen3", "llama3", "qwen3_vl"] {
      let source = try Fixtures.bytes("chat_templates/templates/\(name).jinja")
      let messages = try #require(Fixtures.json("chat_templates/\(name).json")["cases"]?[3]?["messages"]?.array)
      for _ in 0..<60 {
        var bytes = source
        for _ in 0..<random.integer(below: 4) {
          bytes[random.integer(below: bytes.count)] = UInt8(32 + random.integer(below: 95))
        }
        if random.integer(below: 2) == 0 { bytes.removeLast(random.integer(below: bytes.count)) }
        let text = String(decoding: bytes, as: UTF8.self)
        _ = try? ChatTemplate(source: text, file: name).render(messages: messages)
      }
    }
  }
}

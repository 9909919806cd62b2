import Foundation
import Rewards

InlineExitGuard.arm()
let status = CommandLineInterface.run(Array(CommandLine.arguments.dropFirst()))
InlineExitGuard.programEnds()
exit(status)

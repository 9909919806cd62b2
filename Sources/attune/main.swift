import Foundation
import Rewards

StandardStream.reserveDescriptors()
InlineExitGuard.arm()
let status = CommandLineInterface.run(Array(CommandLine.arguments.dropFirst()))
InlineExitGuard.programEnds()
exit(status)

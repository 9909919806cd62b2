import Foundation
import Rewards

StandardStream.reserveDescriptors()
exit(CommandLineInterface.run(Array(CommandLine.arguments.dropFirst())))

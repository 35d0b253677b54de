"""How a formula becomes a program, for backends that compile.

    formula     methods that compute one item: value, gradients, curvature
       |        recorder     calls them with arrays that carry no numbers
    Program     a graph of operations                           program
       |        derivative   differentiates a user's value
       |        evaluation   runs a program on arrays, without compiling it
       |        order        spells out what sorts rows and goes along them
       |        passes       says which loop over a row computes what, and spells each line
    Passes      what a backend writes out in its language
       |        kernels      keeps one kernel for all jobs that differ in their arrays alone
       |        numbers      computes on the host what varies by nothing
       |        geometry     makes one or two plain loops of shapes and strides
    kernel      reads the job's arrays, writes to those of      outputs

May change in a minor version.
"""

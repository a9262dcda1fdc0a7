"""What the site itself says, in both languages."""

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "site": "minillm: the course", "lessons": "Lessons", "other": "中文", "search": "Search the lessons",
        "theme": "Light or dark", "minutes": "{0} minutes", "needs": "Before it: ",
        "previous": "Previous",
        "next": "Next", "contents": "On this page", "exercise": "Exercise", "hint": "Hint {0}",
        "solution": "Solution: try it first", "why": "Why it works", "printed": "prints",
        "alone": "open by itself", "notebook": "notebook", "with_solutions": "with solutions",
        "glossary": "Glossary", "skip": "To the text",
        "intro": "Language models from scratch, in NumPy. What the code prints was computed when this page "
                 "was built; every computation that has a stepper can be walked through, forwards and "
                 "backwards, with the arrow keys.",
        "terminal": "In the terminal: `minillm learn start my-course`, then `minillm learn`.",
        "nothing": "nothing found", "count": "sections found: {0}", "comma": ", ", "term": "Term",
        "in_other": "Chinese",
    },
    "zh": {
        "site": "minillm 课程", "lessons": "课程目录", "other": "English", "search": "搜索课程",
        "theme": "浅色或深色", "minutes": "{0} 分钟", "needs": "先修：", "previous": "上一课",
        "next": "下一课", "contents": "本页内容", "exercise": "练习", "hint": "提示 {0}",
        "solution": "参考解答（请先自己试试）", "why": "为什么这样是对的", "printed": "输出",
        "alone": "单独打开",
        "notebook": "笔记本", "with_solutions": "含解答", "glossary": "术语表", "skip": "跳到正文",
        "intro": "用 NumPy 从零写语言模型。代码输出的结果都是生成本页时算出来的；带有分步演示的计算，"
                 "都可以用方向键一步步向前、向后走。",
        "terminal": "在终端里学习：先运行 `minillm learn start my-course`，再运行 `minillm learn`。",
        "nothing": "没有找到", "count": "找到 {0} 处", "comma": "、", "term": "术语", "in_other": "英文",
    },
}
